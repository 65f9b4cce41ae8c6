//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"
)

// leastPause is the shortest time for which the machine stood still that may need an
// excuse: the kernel's timer ends a frozen guard 100 ms after its deadline, and the margin
// is 250 ms or more.
const leastPause = 100 * time.Millisecond

// A pause is a time in which the machine did not let this process run, and so perhaps no
// other either, at times not even the kernel.
type pause struct{ from, to instant }

type pauses []pause

// within is for how long of that time the machine stood still.
func (ps pauses) within(from, to instant) (d time.Duration) {
	for _, p := range ps {
		if p.from < to && p.to > from {
			d += min(p.to, to).since(max(p.from, from))
		}
	}
	return d
}

// A metronome notes when it could not beat.
type metronome struct {
	mu    sync.Mutex
	noted pauses
}

// steady watches the machine for all tests: where one asserts that something happens at
// once, the time for which the machine stood still is not counted.
var steady metronome

func (m *metronome) run() {
	ticker := time.NewTicker(20 * time.Millisecond)
	for last := now(); ; {
		<-ticker.C
		at := now()
		if at.since(last) > leastPause {
			m.mu.Lock()
			m.noted = append(m.noted, pause{last, at})
			m.mu.Unlock()
		}
		last = at
	}
}

// pauses returns those that ended after that.
func (m *metronome) pauses(after instant) pauses {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.noted), func(p pause) bool { return p.to <= after })
}

// ran is how long the machine ran in that time.
func (m *metronome) ran(from, to instant) time.Duration {
	return to.since(from) - m.pauses(from).within(from, to)
}

// A process that was stopped is noted as standing still, for about that long. Not beside
// other tests.
func TestStandsStill(t *testing.T) {
	begin := now()
	must(t, exec.Command("sh", "-c", fmt.Sprintf("kill -STOP %[1]d; sleep 0.5; kill -CONT %[1]d", os.Getpid())).Run())
	end := now()
	waitFor(t, "a note", patient, func() bool { return steady.ran(begin, end) < end.since(begin) })
	if ran, stood := steady.ran(begin, end), end.since(begin); stood-ran < 400*time.Millisecond || ran < 0 {
		t.Errorf("of %v the machine is said to have run for %v", stood, ran)
	}
}
