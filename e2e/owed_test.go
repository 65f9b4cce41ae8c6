//go:build linux

package e2e

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/supervisor"
)

// Nobody waited when a tick was interrupted: who is called for the next one runs it
// first.
func TestInterruptedTickIsOwed(t *testing.T) {
	t.Parallel()
	bin := fakedClock.build(t)
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		minute := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
		at := func(id string, minutes int, command []string) *candidate {
			clock := wallClock{now(), minute.Add(time.Duration(minutes)*time.Minute + 20*time.Second), 1}
			return e.start(spec{id: id, bin: bin, env: []string{clock.variable()}, flags: []string{"--once-per", "1m", "--log-level", "info"}, command: command})
		}
		a := at("a", 0, e.child())
		first := e.leads(a, nil)
		a.signal(t, unix.SIGKILL)
		a.says(t, "released", 1, patient)                                   // by the guard: until then the tick counts as running
		b := at("b", 1, []string{childBin, "--exit", "0", "--after", "1s"}) // two in one tenure
		b.says(t, "child started", 1, patient)
		c := at("c", 1, e.child("--exit", "1")) // waits for its tick, which b will run
		b.exits(t, 0, patient)
		c.exits(t, 0, patient)

		want := map[string]int{"2026-11-26T10:00:00Z": 2, "2026-11-26T10:01:00Z": 1}
		records := e.recorded(supervisor.TicksValue)
		for _, tick := range records {
			if tick.State != supervisor.StateFinished || tick.Attempt != want[tick.Name] || uint64(tick.Token) <= first.token {
				t.Errorf("recorded: %+v", tick)
			}
		}
		if len(records) != len(want) {
			t.Errorf("%d ticks are recorded: %+v", len(records), records)
		}
	})
}

// A guard that is killed, or does not answer, while there is nothing to run costs no
// tick an attempt, not even one that may run but once.
func TestNoGuardBetweenTicks(t *testing.T) {
	t.Parallel()
	for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			t.Parallel()
			e := newElection(t, fileStore(t))
			a := e.start(spec{id: "a", flags: []string{"--schedule", "3s", "--rerun", "never", "--log-level", "info"}, command: e.child("--exit", "0")})
			a.says(t, "tick ended", 1, patient)
			kill(t, sig, a.theGuard(t))
			a.says(t, "tick ended", 3, patient)
			a.signal(t, unix.SIGTERM)
			waitFor(t, "a to end", patient, a.ended)
			for _, tick := range e.recorded(supervisor.TicksValue) {
				if tick.State != supervisor.StateFinished && tick.State != supervisor.StateSkipped {
					t.Errorf("recorded: %+v", tick)
				}
			}
		})
	}
}
