//go:build unix

package cmd

import (
	"sync/atomic"

	"leaderrun/lock/bootclock"
	"leaderrun/supervisor"
)

// A standing is how this candidate stands now, as the events have told. Anybody may
// read it at any time, and no event waits for that.
type standing struct {
	token   atomic.Uint64 // of the tenure; 0 for none
	since   atomic.Int64  // bootclock.Instant of its beginning
	until   atomic.Int64  // bootclock.Instant of its deadline; of the place in the queue without a tenure
	running atomic.Bool   // the command
	ending  atomic.Bool   // the tenure: what has not ended yet is being stopped
}

func (s *standing) tell(e supervisor.Event) {
	switch e.Kind {
	case supervisor.Elected:
		s.ending.Store(false)
		s.since.Store(int64(bootclock.Now()))
		s.until.Store(int64(e.Until))
		s.token.Store(uint64(e.Token))
	case supervisor.Renewed:
		s.until.Store(int64(e.Until))
	case supervisor.ChildStarted:
		s.running.Store(true)
	case supervisor.ChildStopped:
		s.running.Store(false)
	case supervisor.ChildStopping, supervisor.Lost, supervisor.GivingUp:
		s.ending.Store(true) // a start that is told later changes nothing
	case supervisor.Released, supervisor.NotReleased:
		s.token.Store(0)
	}
}

// standsAs says in words how it stands, and whether that means that the command runs, and
// may go on.
func (s *standing) standsAs() (words string, serves bool) {
	switch {
	case s.token.Load() == 0:
		return "not leading", false
	case bootclock.Now() >= bootclock.Instant(s.until.Load()):
		return "leading no more: the deadline has passed", false
	case s.ending.Load():
		return "leading, but the command is being stopped", false
	case !s.running.Load():
		return "leading, but the command does not run", false
	}
	return "leading", true
}
