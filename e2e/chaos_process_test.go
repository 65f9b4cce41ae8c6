//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// whom is the part of a candidate that a fault hits.
type whom struct{ supervisor, guard bool }

var (
	theSupervisor = whom{supervisor: true}
	aGuard        = whom{guard: true}
	both          = whom{true, true}
)

var processFaults = []*faultKind{
	{name: "supervisor killed", weight: 3, acts: struck(theSupervisor, unix.SIGKILL)},
	{name: "guard killed", weight: 3, acts: struck(aGuard, unix.SIGKILL)},
	{name: "supervisor and guard killed", weight: 1, class: alone, said: true, acts: bothKilled},
	{name: "supervisor told to stop", weight: 1, acts: struck(theSupervisor, unix.SIGTERM)},
	{name: "supervisor stopped briefly", weight: 2, harmless: true, acts: frozenFor(theSupervisor, (*chaos).brief)},
	{name: "guard stopped briefly", weight: 2, harmless: true, acts: frozenFor(aGuard, (*chaos).brief)},
	{name: "supervisor and guard stopped briefly", weight: 2, harmless: true, acts: frozenFor(both, (*chaos).brief)},
	{name: "supervisor stopped", weight: 2, acts: frozenFor(theSupervisor, (*chaos).long)},
	{name: "guard stopped", weight: 2, acts: frozenFor(aGuard, (*chaos).long)},
	{name: "supervisor and guard stopped", weight: 1, class: alone, said: true, acts: frozenFor(both, (*chaos).long)},
	{name: "supervisor stutters", weight: 1, harmless: true, acts: stutters},
}

func send(sig syscall.Signal, to []*os.Process) func() error {
	return func() error {
		var errs []error
		for _, p := range to {
			if err := p.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
}

func struck(w whom, sig syscall.Signal) func(*chaos, *place, step) []act {
	return func(c *chaos, p *place, _ step) []act {
		return once(send(sig, p.processes(c.t, w.supervisor, w.guard)))
	}
}

func frozenFor(w whom, length func(*chaos, step) time.Duration) func(*chaos, *place, step) []act {
	return func(c *chaos, p *place, s step) []act {
		hit := p.processes(c.t, w.supervisor, w.guard)
		return between(length(c, s), send(unix.SIGSTOP, hit), send(unix.SIGCONT, hit))
	}
}

// stutters stops the supervisor again and again for a moment, as pauses for garbage
// would, for two thirds of the time.
func stutters(c *chaos, p *place, s step) (acts []act) {
	hit := p.processes(c.t, true, false)
	const turn = 150 * time.Millisecond
	for at := time.Duration(0); at < c.long(s); at += turn {
		acts = append(acts, act{after: at, do: send(unix.SIGSTOP, hit)}, act{after: at + turn*2/3, do: send(unix.SIGCONT, hit)})
	}
	return acts
}

// bothKilled leaves what the child forked. Once the next one has begun and that has
// been seen, it is ended by hand, as by an operator.
func bothKilled(c *chaos, p *place, _ step) []act {
	var token uint64
	if leader := c.leader(); leader == p {
		token = c.newest().token
	}
	sweep := func() error {
		mark := fmt.Sprintf("LEADERRUN_FENCING_TOKEN=%d", token)
		for _, left := range c.running() {
			if env := environOf(left.pid); slices.Contains(env, mark) && slices.Contains(env, "LEADERRUN_ELECTION="+c.name) {
				if err := unix.Kill(left.pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
					return err
				}
			}
		}
		return nil
	}
	acts := once(send(unix.SIGKILL, p.processes(c.t, true, true)))
	// A hopper is somebody else at each look.
	for i := range 20 {
		acts = append(acts, act{after: c.trial.outlives + settling + prompt + time.Duration(i)*10*time.Millisecond, do: sweep, tidy: true})
	}
	return acts
}
