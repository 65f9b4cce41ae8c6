//go:build unix

package guard

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
)

// A Command is what a guard runs: the Spec's command, or a shell's text.
type Command struct {
	// Shell is a text of up to 16 KiB for /bin/sh -c, whose standard input is /dev/null
	// and which never gets the terminal's foreground; "" is the Spec's Path and Argv.
	Shell string
	// Env is added to the inherited environment. It should have the tenure's mark, see
	// MarkVariable.
	Env []string
}

// A Run is one command's run.
type Run struct {
	guard   *Guard
	command Command
	number  int
	shared  atomic.Bool
}

// Command returns the next command to run, which Run starts: the one before has ended.
func (g *Guard) Command(c Command) *Run {
	g.now.Lock()
	defer g.now.Unlock()
	g.now.numbered++
	return &Run{guard: g, command: c, number: g.now.numbered}
}

// SharesGroup reports whether the child runs in this process's group (see
// alone), so that the terminal's signals reach both.
func (r *Run) SharesGroup() bool { return r.shared.Load() }

// Signal passes a signal on to the child: to this command's and no other's, once it is
// there. It does not block; a guard that does not read, being frozen, gets no more
// than a pipe holds.
func (r *Run) Signal(sig syscall.Signal) {
	_ = send(r.guard.control, order{Do: doSignal, Run: r.number, Signal: sig})
}

// Run runs the command until it exits, t is lost or ctx is done, and returns
// only when no process that it started is left. Started is told the child's pid and
// its start time (field 22 of /proc/PID/stat). It may be called once.
func (r *Run) Run(ctx context.Context, t Tenure, started func(pid int, start uint64)) Result {
	g := r.guard
	if g.reaped.Load() {
		return Result{Cause: GuardDied, Status: syscall.WaitStatus(syscall.SIGKILL)}
	}
	lost, done := t.Lost(), ctx.Done()
	g.mark, g.child, g.group = lastMark(r.command.Env), 0, 0
	var overdue <-chan time.Time
	kill := func(patience time.Duration) {
		done = nil
		_ = send(g.control, order{Do: doKill})
		overdue = time.After(patience)
	}
	select {
	case <-g.beside: // or the guard is frozen before it was ready
	default:
		select {
		case <-g.beside:
		case <-lost:
		case <-done:
			return g.bury()
		}
	}
	select {
	case <-lost: // between the election, or the command before, and now
		return Result{Cause: NotStarted, Errno: syscall.ETIME}
	default:
	}
	if ctx.Err() != nil {
		return Result{Cause: Killed, Status: syscall.WaitStatus(syscall.SIGKILL)}
	}
	begin := order{Do: doStart, Run: r.number, Deadline: t.ValidUntil(), Shell: []byte(r.command.Shell), Env: r.command.Env}
	if err := g.insist(begin); err != nil {
		return g.bury()
	}
	g.begin(r.number)
	defer g.begin(0)
	// By its deadline a guard has started the command, or refused to: else it is frozen.
	unheard := time.After(begin.Deadline.Until() + reportWithin)
	for {
		select {
		case <-unheard:
			return g.bury()
		case <-lost:
			lost = nil
			kill(reportWithin)
		case <-done:
			kill(reportLater)
		case <-t.Renewed():
			_ = send(g.control, order{Do: doDeadline, Deadline: t.ValidUntil()})
		case <-overdue:
			return g.bury()
		case rep, ok := <-g.reports:
			if !ok {
				return g.bury()
			}
			switch {
			case rep.Is == isDead:
				return rep.result()
			case rep.Is == isStarted:
				unheard = nil
				g.child, g.group = rep.PID, rep.PID
				if rep.Shared {
					g.group = 0
				}
				r.shared.Store(rep.Shared)
				started(rep.PID, rep.Start)
			case rep.Is == isChecked:
				g.checked(rep.Check, syscall.WaitStatus(rep.Status))
			case rep.Is == isStopped && g.spec.Stopped != nil:
				g.spec.Stopped(rep.Signal)
			case rep.Is == isUnkillable && g.spec.Unkillable != nil:
				g.spec.Unkillable(rep.PID, rep.Errno)
			}
		}
	}
}

// How long a guard may take to start, and with nothing to do to answer, on a busy
// machine.
const (
	readyTimeout = 10 * time.Second
	pingTimeout  = 2 * time.Second
)

// Ping returns an error unless the guard can be told to run a command, now, while none
// runs: it may be dead or frozen, or have given the ticket back.
func (g *Guard) Ping() error {
	select {
	case <-g.ready:
	case <-time.After(readyTimeout):
		return errors.New("ping guard: it does not start")
	}
	if err := g.insist(order{Do: doPing}); err != nil {
		return fmt.Errorf("ping guard: %w", err)
	}
	for late := time.After(pingTimeout); ; {
		select {
		case rep, ok := <-g.reports:
			switch {
			case !ok:
				return errors.New("ping guard: it is dead")
			case rep.Is == isThere:
				return nil
			}
		case <-late:
			return errors.New("ping guard: no answer")
		}
	}
}

// insist sends an order that must arrive, and gives a guard that has much to read as
// long as one that kills. An error means that it was not sent.
func (g *Guard) insist(o order) error {
	overdue := time.After(reportWithin)
	for {
		err := send(g.control, o)
		if !errors.Is(err, syscall.EAGAIN) {
			return err
		}
		select {
		case <-overdue:
			return err
		case <-time.After(time.Millisecond):
		}
	}
}
