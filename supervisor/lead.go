//go:build unix

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	lease   lock.Lease
	polite  bootclock.Timer // at deadline - loss grace: the stop signal
	patient bootclock.Timer // at the end of the stop time-out: SIGKILL

	// Of the command that runs now:
	command *guard.Run
	kill    context.CancelFunc // SIGKILL the tree now
	killAt  bootclock.Instant
	probe   *probe        // of the child; nil for none
	noted   chan struct{} // closed when the store knows the command; nil before the first

	told     syscall.Signal // to stop, by a signal: leaderrun ends after this tenure
	losing   bool           // the stop signal was sent because renewals fail
	givingUp bool           // somebody else is to lead: we stand back
	cause    string         // why the child was stopped, in words
	toldLost bool
	about    []string // variables about the tick, for the hooks too
	elected  bool     // --on-elected has begun
	undoing  bool     // --on-lost runs, which is short and not to be stopped

	listen      <-chan time.Time    // when to begin with requests
	requests    <-chan lock.Request // nil before that
	askers      []string            // whose requests were answered
	answered    chan struct{}       // closed when the latest answer was written, or was not; nil for none
	answering   context.Context     // of what is written
	stopAnswers context.CancelFunc
}

// An ending is what follows from a tenure: leaderrun ends with out or, if that is
// nil, campaigns again.
type ending struct {
	out  *Outcome
	last string // what happened, for --on-lost
}

func ends(out Outcome, last string) ending { return ending{&out, last} }

// lead works during one tenure, and returns how leaderrun ends or that it campaigns
// again.
func (r *run) lead(lease lock.Lease) (out Outcome, again bool) {
	r.Listen(Event{Kind: Elected, Token: lease.Token(), Until: lease.ValidUntil(), Cause: r.takeover(lease.Previous())})
	t := &tenure{run: r, lease: lease, listen: time.After(listenAfter)}
	t.answering, t.stopAnswers = context.WithCancel(context.Background())
	end := ending{}
	err := t.makeTimers()
	if err != nil { // no descriptors for two timers: let another host try
		r.Listen(Event{Kind: Warning, Err: err})
	} else {
		if r.severalCommands() {
			r.guard.Hold()
		}
		end = t.work()
		t.tellLost()
		t.onLost(end.last)
		t.closeTimers()
		if t.told != 0 && end.out == nil {
			end = t.abandoned()
		}
	}
	t.endAnswers()
	r.release(lease)
	r.standBack = t.givingUp
	switch {
	case end.out != nil:
		return *end.out, false
	case t.givingUp && r.Candidate.Try:
		return Outcome{End: GaveUp}, false
	case r.ExitOnLoss && !t.givingUp:
		return Outcome{End: TenureLost}, false
	}
	return Outcome{}, true
}

func (t *tenure) makeTimers() (err error) {
	if t.polite, err = bootclock.System.NewTimer(); err != nil {
		return err
	}
	if t.patient, err = bootclock.System.NewTimer(); err != nil {
		return errors.Join(err, t.polite.Close())
	}
	return nil
}

func (t *tenure) closeTimers() { _, _ = t.polite.Close(), t.patient.Close() }

// severalCommands reports whether a tenure may run more than one command.
func (r *run) severalCommands() bool {
	return r.Job.recorded() || r.Restart.Policy != RestartNo || r.Hooks != Hooks{Timeout: r.Hooks.Timeout}
}

// work does what a tenure is for.
func (t *tenure) work() ending {
	switch {
	case t.Job.Repeat:
		return t.repeat()
	case t.Job.recorded():
		return t.once()
	}
	return t.serve()
}

// child runs the command, with variables besides those of the tenure, and returns
// when nothing of its tree is left.
func (t *tenure) child(variables ...string) guard.Result {
	t.probe = t.newProbe(variables)
	defer t.endProbe()
	token := t.lease.Token()
	res := t.execute("", variables, math.MaxInt64, func(pid int) {
		t.pause.Reset()
		t.Listen(Event{Kind: ChildStarted, Token: token, PID: pid})
	})
	if res.Cause != guard.NotStarted {
		t.Listen(Event{Kind: ChildStopped, Token: token, Status: res.ExitCode(), Cause: t.why(res)})
	}
	if res.Cause == guard.NotStarted && transient(res.Errno) && t.lease.Err() == nil {
		err := fmt.Errorf("start the guard or the command: %w", res.Errno)
		t.Listen(Event{Kind: Warning, Token: token, Err: err})
	}
	return res
}

// over reports whether the end of the child is the end of the tenure, but for what
// the child's own end is to mean.
func (t *tenure) over(res guard.Result) (end ending, over bool) {
	why := t.why(res)
	switch {
	case t.told != 0 && res.Cause == guard.NotStarted:
		return t.abandoned(), true
	case t.told != 0:
		return ends(childEnded(res), why), true
	case res.Cause == guard.NotStarted && !transient(res.Errno):
		return ends(Outcome{End: NotStarted, Err: res.Errno}, why), true
	case res.Cause != guard.Exited, t.losing, t.givingUp, t.lease.Err() != nil:
		return ending{last: why}, true
	}
	return ending{}, false
}

// childEnded is how leaderrun ends with its child.
func childEnded(res guard.Result) Outcome {
	return Outcome{End: ChildEnded, Status: res.ExitCode(), Interrupt: res.Front && res.Status.Signal() == syscall.SIGINT}
}

// abandoned is the end of a tenure in which no command runs.
func (t *tenure) abandoned() ending {
	if t.told != 0 {
		return ends(Outcome{End: Interrupted, Status: 128 + int(t.told)}, t.cause)
	}
	return ending{last: t.cause}
}

// giveUp lets somebody else lead.
func (t *tenure) giveUp(why string) {
	t.givingUp, t.cause = true, why
	t.Listen(Event{Kind: GivingUp, Token: t.lease.Token(), Cause: why})
}

// transient reports whether a command that was not started may start another
// time, or on another host: the tenure was over already, or this host is full.
func transient(errno syscall.Errno) bool {
	return errno == syscall.ETIME || errno == syscall.EAGAIN || errno == syscall.ENOMEM || errno == syscall.EMFILE || errno == syscall.ENFILE
}

// wait waits while no command runs, also longer than d if renewals fail: what was
// started then would be told to stop at once. It reports whether the tenure goes
// on; a signal to stop ends it.
func (t *tenure) wait(d time.Duration) (goesOn bool) {
	over := time.After(d)
	for {
		select {
		case <-t.lease.Lost():
			t.tellLost()
			t.cause = "tenure lost"
			return false
		case sig := <-t.signals:
			if t.endsStandby(sig) {
				t.toldTo(sig.(syscall.Signal))
				return false
			}
		case <-t.listen:
			t.listen, t.requests = nil, t.lease.Requests()
		case asked := <-t.requests:
			if t.asked(asked) {
				return false
			}
		case <-over:
			if bootclock.Now() < t.stopAt() {
				return true
			}
			over = time.After(min(time.Second, t.lease.Grace()/10))
		}
	}
}

// toldTo notes a signal to stop that came while no command ran.
func (t *tenure) toldTo(sig syscall.Signal) {
	t.told, t.cause = sig, t.tellStopping(sig)
}

// tellStopping tells that leaderrun is to end, and returns why.
func (r *run) tellStopping(sig syscall.Signal) (cause string) {
	cause = "received " + unix.SignalName(sig)
	r.Listen(Event{Kind: Stopping, Cause: cause})
	return cause
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

// why says what ended the child.
func (t *tenure) why(res guard.Result) string {
	switch {
	case res.Cause == guard.NotStarted:
		return "not started: " + res.Errno.Error()
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
