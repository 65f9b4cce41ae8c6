//go:build unix

package supervisor

import (
	"fmt"
	"time"

	"leaderrun/lock/bootclock"
	"leaderrun/supervisor/guard"
)

// Hooks are commands around those of a tenure, for /bin/sh -c; "" is none. They
// run under the guard, and are dead at the deadline like the child.
type Hooks struct {
	OnElected string        // before the child; if it fails, the tenure is given up
	OnLost    string        // after the tree is dead, if the lease outlives Timeout
	Timeout   time.Duration // of each
}

// onElected reports whether the child may be started.
func (t *tenure) onElected() bool {
	t.elected = true
	if t.Hooks.OnElected == "" {
		return true
	}
	why := t.hook("--on-elected", t.Hooks.OnElected, "elected")
	goesOn := t.told == 0 && !t.losing && !t.givingUp && t.lease.Err() == nil
	if why != "" && goesOn {
		t.giveUp(why)
	}
	return why == "" && goesOn
}

// onLost undoes what --on-elected has begun to do. A lease that may end before the
// hook does would let the next --on-elected begin beside it.
func (t *tenure) onLost(cause string) {
	if t.Hooks.OnLost == "" || !t.elected {
		return
	}
	left := t.lease.ValidUntil().Sub(bootclock.Now())
	if t.lease.Err() != nil || left < t.Hooks.Timeout {
		t.Listen(Event{Kind: HookSkipped, Token: t.lease.Token(), Left: max(0, left), Cause: "the lease ends before --on-lost would have to"})
		return
	}
	t.undoing = true
	t.hook("--on-lost", t.Hooks.OnLost, cause)
}

// hook runs one and says why it failed, if it did.
func (t *tenure) hook(flag, command, cause string) (why string) {
	res := t.execute(command, append([]string{"LEADERRUN_CAUSE=" + cause}, t.about...), t.Hooks.Timeout, func(int) {})
	switch {
	case res.Cause == guard.Exited && res.ExitCode() == 0:
		return ""
	case (t.told != 0 || t.givingUp) && !t.undoing:
		return flag + " was stopped" // as asked: no failure
	case res.Cause == guard.Exited:
		why = fmt.Sprintf("%s ended with status %d", flag, res.ExitCode())
	case res.Cause == guard.Killed && t.lease.Err() == nil:
		why = fmt.Sprintf("%s did not end within %v", flag, t.Hooks.Timeout)
	default:
		why = flag + " " + t.why(res)
	}
	t.Listen(Event{Kind: HookFailed, Token: t.lease.Token(), Cause: why})
	return why
}
