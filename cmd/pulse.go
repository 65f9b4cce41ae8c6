//go:build unix

package cmd

import (
	"sync/atomic"
	"time"

	"leaderrun/lock/bootclock"
	"leaderrun/supervisor"
)

// A pulse tells whether campaigning or leading really goes on: every renewal,
// every attempt at one and every change is a beat. A candidate without one
// is stuck, whatever its other goroutines do.
type pulse struct {
	last  atomic.Int64 // bootclock.Instant of the latest beat
	limit atomic.Int64 // of the silence since, a time.Duration
}

// leastSilence is above every pause between two beats that is not made of renewals.
const leastSilence = 20 * time.Second

// newPulse returns one that has just beaten.
func newPulse() *pulse {
	p := &pulse{}
	p.limit.Store(int64(leastSilence))
	p.tell(supervisor.Event{})
	return p
}

func (p *pulse) tell(e supervisor.Event) {
	p.last.Store(int64(bootclock.Now()))
	if e.Every > 0 { // of the lease that was granted, which may be another than was asked for
		p.limit.Store(int64(max(leastSilence, 2*e.Every)))
	}
}

// beats reports whether the silence is not too long yet.
func (p *pulse) beats() bool {
	return bootclock.Now().Sub(bootclock.Instant(p.last.Load())) < time.Duration(p.limit.Load())
}
