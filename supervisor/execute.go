//go:build unix

package supervisor

import (
	"context"
	"math"
	"os"
	"syscall"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/supervisor/guard"
)

const never = bootclock.Instant(math.MaxInt64)

// execute runs a command of the tenure, the shell's or else the one that we are
// for, and returns only when nothing of its tree is left. It is killed after limit.
func (t *tenure) execute(shell string, variables []string, limit time.Duration, started func(pid int)) guard.Result {
	ctx, kill := context.WithTimeout(context.Background(), limit)
	defer kill()
	t.kill, t.killAt = kill, never
	t.command = t.guard.Command(guard.Command{Shell: shell, Env: append(t.Env(t.lease.Token()), variables...)})
	select {
	case <-t.jobs: // of the command before
	default:
	}
	done := make(chan guard.Result, 1)
	go func() {
		done <- t.command.Run(ctx, t.lease, func(pid int, start uint64) {
			t.note(pid, start)
			started(pid)
		})
	}()
	res := t.watch(done)
	t.tellLost()
	return res
}

// note tells the store about a command, if it wants to know; after it was told
// about the one before.
func (t *tenure) note(pid int, start uint64) {
	rec, ok := t.lease.(lock.ChildRecorder)
	if !ok {
		return
	}
	before, done := t.noted, make(chan struct{})
	t.noted = done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		if err := rec.RecordChild(pid, start); err != nil {
			t.Listen(Event{Kind: Warning, Err: err})
		}
	}()
}

// watch passes signals on and sends the stop signal in time, until the tree is
// dead. The kill at the deadline is not its business but the guard's.
func (t *tenure) watch(done <-chan guard.Result) guard.Result {
	t.polite.Reset(t.stopAt())
	lost := t.lease.Lost()
	var resume <-chan time.Time
	defer func() {
		if resume != nil {
			t.catchTSTP()
		}
	}()
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
			} else if !t.losing && t.told == 0 && !t.undoing {
				t.losing = true
				t.stop(t.StopSignal, "renewals fail")
			}
		case <-t.patient.C():
			if bootclock.Now() >= t.killAt {
				t.kill()
			}
		case <-t.probe.due():
			t.check()
		case ended := <-t.probe.ended():
			t.checked(ended)
		case <-t.listen:
			t.listen, t.requests = nil, t.lease.Requests()
		case asked := <-t.requests:
			if t.asked(asked) {
				t.stop(t.StopSignal, t.cause)
			}
		case <-t.jobs:
			if resume == nil {
				resume = t.stopSelf(0) // the whole job, so that the shell sees it stop
			}
		case <-resume:
			resume = nil
			t.catchTSTP()
			t.command.Signal(syscall.SIGCONT)
		case sig := <-t.signals:
			if sig == syscall.SIGCONT && resume != nil {
				resume = nil
				t.catchTSTP()
			}
			t.signal(sig.(syscall.Signal))
		}
	}
}

// signal passes a signal on; TERM, INT and QUIT also mean stop, and the second
// of them does not wait.
func (t *tenure) signal(sig syscall.Signal) {
	if t.command.SharesGroup() && guard.InFront() {
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
		if t.told != 0 {
			t.kill()
			return
		}
		t.told = sig
		cause := t.tellStopping(sig)
		if t.undoing {
			return
		}
		if sig == syscall.SIGTERM {
			sig = t.StopSignal
		}
		t.stop(sig, cause)
	default:
		t.command.Signal(sig)
	}
}

func (t *tenure) stop(sig syscall.Signal, cause string) {
	t.cause = cause
	t.Listen(Event{Kind: ChildStopping, Token: t.lease.Token(), Cause: cause})
	t.command.Signal(sig)
	t.command.Signal(syscall.SIGCONT) // a stopped child could not obey
	t.killAt = bootclock.Now().Add(t.StopTimeout)
	t.patient.Reset(t.killAt)
}
