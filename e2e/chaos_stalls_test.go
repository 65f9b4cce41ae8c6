//go:build linux

package e2e

import "time"

// stalled is what nobody did: for that long the machine did not let this process run,
// and so perhaps no other either. What is lost then is not needless.
const (
	stalled    = "machine overloaded (not injected)"
	leastStall = 400 * time.Millisecond
)

// A metronome notes when it could not beat.
type metronome struct {
	quit   chan struct{}
	stalls chan []fault
}

func startMetronome() *metronome {
	m := &metronome{make(chan struct{}), make(chan []fault, 1)}
	go m.run()
	return m
}

func (m *metronome) run() {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var stalls []fault
	for last := now(); ; {
		select {
		case <-m.quit:
			m.stalls <- stalls
			return
		case <-ticker.C:
		}
		at := now()
		if at.since(last) > leastStall {
			stalls = append(stalls, fault{kind: stalled, from: last, to: at, mayEnd: true})
		}
		last = at
	}
}

func (m *metronome) stop() []fault {
	close(m.quit)
	return <-m.stalls
}
