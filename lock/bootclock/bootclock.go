// Package bootclock is the clock that deadlines are counted on: it runs on
// while the machine is suspended, never jumps, and reads the same in every
// process of the host, so that an Instant may be sent through a pipe.
//
// Go's own timers and contexts stop during suspend and are not used for
// deadlines (CLOCK_MONOTONIC, golang/go#24595). On Linux the clock is
// CLOCK_BOOTTIME with timers on timerfd(2). On macOS it is CLOCK_MONOTONIC,
// which there runs on while asleep, and timers look at it every 20 ms.
package bootclock

import "time"

// An Instant is a reading of the clock, in nanoseconds since some point that
// is the same for all processes until the next boot.
type Instant int64

// Add returns i + d.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns i - j.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// Until returns how long it is from now to i; negative if i has passed.
func (i Instant) Until() time.Duration { return i.Sub(Now()) }

// A Clock tells time and makes timers; System is the real one.
type Clock interface {
	Now() Instant
	// NewTimer returns a timer that is not set.
	NewTimer() (Timer, error)
}

// A Timer fires once for each Reset. A tick that was already on its way when
// Reset was called may still arrive: look at the clock on every tick.
type Timer interface {
	C() <-chan struct{}
	Reset(Instant) // fires at once if the Instant has passed
	Close() error
}

// System is the clock of this host.
var System Clock = system{}

type system struct{}

func (system) Now() Instant             { return Now() }
func (system) NewTimer() (Timer, error) { return newTimer() }
