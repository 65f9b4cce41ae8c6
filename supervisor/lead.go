//go:build unix

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/supervisor/guard"
)

// A tenure is the state of one spell of leading.
type tenure struct {
	*run
	lease    lock.Lease
	kill     context.CancelFunc // SIGKILL the tree now
	polite   bootclock.Timer    // at deadline - loss grace: the stop signal
	patient  bootclock.Timer    // at the end of the stop time-out: SIGKILL
	killAt   bootclock.Instant
	stopped  bool   // told to stop by a signal: leaderrun ends after this tenure
	losing   bool   // the stop signal was sent because renewals fail
	cause    string // why the child was stopped, in words
	toldLost bool
}

// lead runs the command during one tenure and returns how leaderrun ends, or
// that it campaigns again.
func (r *run) lead(lease lock.Lease) (out Outcome, again bool) {
	g, token := r.guard, lease.Token()
	r.Listen(Event{Kind: Elected, Token: token})
	res, t, err := r.runChild(g, lease)
	if err != nil { // no descriptors for two timers: let another host try
		r.Listen(Event{Kind: Warning, Err: err})
	} else if res.Cause != guard.NotStarted {
		r.Listen(Event{Kind: ChildStopped, Token: token, Status: res.ExitCode(), Cause: t.why(res)})
	}
	r.release(lease)
	if res.Cause == guard.NotStarted && transient(res.Errno) && lease.Err() == nil {
		err = fmt.Errorf("start the guard or the command: %w", res.Errno)
		r.Listen(Event{Kind: Warning, Token: token, Err: err})
	}
	ended := Outcome{End: ChildEnded, Status: res.ExitCode(), Interrupt: res.Front && res.Status.Signal() == syscall.SIGINT}
	switch {
	case err != nil:
	case t.stopped:
		return ended, false
	case res.Cause == guard.NotStarted && !transient(res.Errno):
		return Outcome{End: NotStarted, Err: res.Errno}, false
	case res.Cause == guard.Exited && !t.losing:
		return ended, false
	case r.ExitOnLoss:
		return Outcome{End: TenureLost}, false
	}
	return Outcome{}, true
}

// transient reports whether a command that was not started may start another
// time, or on another host: the tenure was over already, or this host is full.
func transient(errno syscall.Errno) bool {
	return errno == syscall.ETIME || errno == syscall.EAGAIN || errno == syscall.ENOMEM || errno == syscall.EMFILE || errno == syscall.ENFILE
}

// runChild returns only when nothing of the tree is left.
func (r *run) runChild(g *guard.Guard, lease lock.Lease) (guard.Result, *tenure, error) {
	t := &tenure{run: r, lease: lease}
	var err error
	if t.polite, err = bootclock.System.NewTimer(); err != nil {
		return guard.Result{}, t, err
	}
	defer func() { _ = t.polite.Close() }()
	if t.patient, err = bootclock.System.NewTimer(); err != nil {
		return guard.Result{}, t, err
	}
	defer func() { _ = t.patient.Close() }()
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	t.kill = kill

	done := make(chan guard.Result, 1)
	go func() { done <- g.Run(ctx, r.Env(lease.Token()), lease, r.started(lease)) }()
	res := t.watch(g, done)
	t.tellLost()
	return res, t, nil
}

// started tells who must know that the child runs.
func (r *run) started(lease lock.Lease) func(pid int, start uint64) {
	return func(pid int, start uint64) {
		r.pause.Reset()
		r.Listen(Event{Kind: ChildStarted, Token: lease.Token(), PID: pid})
		if rec, ok := lease.(lock.ChildRecorder); ok {
			go func() {
				if err := rec.RecordChild(pid, start); err != nil {
					r.Listen(Event{Kind: Warning, Err: err})
				}
			}()
		}
	}
}

// watch passes signals on and sends the stop signal in time, until the tree is
// dead. The kill at the deadline is not its business but the guard's.
func (t *tenure) watch(g *guard.Guard, done <-chan guard.Result) guard.Result {
	t.polite.Reset(t.stopAt())
	lost := t.lease.Lost()
	var resume <-chan time.Time
	for {
		select {
		case res := <-done:
			return res
		case <-lost:
			lost = nil
			t.tellLost()
		case <-t.polite.C():
			if at := t.stopAt(); bootclock.Now() < at {
				t.polite.Reset(at)
			} else if !t.losing && !t.stopped {
				t.losing = true
				t.stop(g, t.StopSignal, "renewals fail")
			}
		case <-t.patient.C():
			if bootclock.Now() >= t.killAt {
				t.kill()
			}
		case <-t.jobs:
			if resume == nil {
				resume = t.stopSelf(0) // the whole job, so that the shell sees it stop
			}
		case <-resume:
			resume = nil
			t.catchTSTP()
			g.Signal(syscall.SIGCONT)
		case sig := <-t.signals:
			if sig == syscall.SIGCONT && resume != nil {
				resume = nil
				t.catchTSTP()
			}
			t.signal(g, sig.(syscall.Signal))
		}
	}
}

// tellLost tells once that the tenure is over, if it is.
func (t *tenure) tellLost() {
	if err := t.lease.Err(); err != nil && !t.toldLost {
		t.toldLost = true
		t.Listen(Event{Kind: Lost, Token: t.lease.Token(), Err: err})
	}
}

// stopAt is when to send the stop signal unless a renewal succeeds.
func (t *tenure) stopAt() bootclock.Instant {
	return t.lease.ValidUntil().Add(-t.lease.Grace())
}

// signal passes a signal on; TERM, INT and QUIT also mean stop, and the second
// of them does not wait.
func (t *tenure) signal(g *guard.Guard, sig syscall.Signal) {
	if g.SharesGroup() && guard.InFront() {
		switch sig {
		case syscall.SIGINT, syscall.SIGQUIT: // from the keyboard, to the child too
			return
		case syscall.SIGTSTP:
			<-t.stopSelf(os.Getpid())
			t.catchTSTP()
			return
		}
	}
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		if t.stopped {
			t.kill()
			return
		}
		t.stopped = true
		cause := "received " + unix.SignalName(sig)
		if sig == syscall.SIGTERM {
			sig = t.StopSignal
		}
		t.stop(g, sig, cause)
	default:
		g.Signal(sig)
	}
}

func (t *tenure) stop(g *guard.Guard, sig syscall.Signal, cause string) {
	t.cause = cause
	t.Listen(Event{Kind: ChildStopping, Token: t.lease.Token(), Cause: cause})
	g.Signal(sig)
	g.Signal(syscall.SIGCONT) // a stopped child could not obey
	t.killAt = bootclock.Now().Add(t.StopTimeout)
	t.patient.Reset(t.killAt)
}

// why says what ended the child.
func (t *tenure) why(res guard.Result) string {
	switch {
	case t.cause != "" && res.Cause == guard.Exited:
		return t.cause
	case res.Cause == guard.Exited:
		return "ended by itself"
	case res.Cause == guard.GuardDied:
		return "the guard died"
	case res.Cause == guard.Deadline:
		return "killed at the deadline"
	case t.lease.Err() != nil:
		return "killed: tenure lost"
	default:
		return "killed: did not stop in time"
	}
}

// release gives the lock back once the tree is dead. What cannot be given back
// in a few seconds is left to the guard, and to the lease's end.
func (r *run) release(lease lock.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	err := lease.Release(ctx)
	if err != nil {
		r.Listen(Event{Kind: NotReleased, Token: lease.Token(), Err: err})
		r.leave(errors.Join(err, lock.ErrLeftBehind))
		return
	}
	r.Listen(Event{Kind: Released, Token: lease.Token()})
	r.leave(nil)
}

const releaseTimeout = 3 * time.Second
