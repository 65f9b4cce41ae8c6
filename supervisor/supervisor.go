//go:build unix

// Package supervisor runs a command while this candidate leads: it campaigns,
// runs the command under a guard, stops it when the tenure ends, releases, and
// campaigns again.
//
// What it guarantees: the command is started only with a Lease in hand, and a
// lock is released only after guard.Run.Run has returned, so when nothing that the
// command started is left. What happens when this process stops at any point
// is the guard's part (see package guard) and the lease's.
package supervisor

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"leaderrun/lock"
	"leaderrun/supervisor/guard"
)

// Config is what to run and how.
type Config struct {
	Locker    lock.Locker
	Candidate lock.Candidate // its functions are set here; Try is one attempt

	Path string   // of the command's executable
	Argv []string // with the command's name
	// Env returns what the child finds in its environment besides what is
	// inherited.
	Env func(lock.Token) []string
	// Mark returns what the variable guard.MarkVariable of every process of
	// that tenure contains, and of no other.
	Mark func(lock.Token) string
	// Ticket returns what the release command needs to give t back.
	Ticket func(t lock.Ticket) ([]byte, error)

	Job     Job
	Restart Restart // not with a Job
	Health  Health
	Hooks   Hooks
	Seat    string // what callers of a Job have in common of whom one on each host may wait, and others not

	Wait        time.Duration // give up a campaign after this; 0 is never
	ExitOnLoss  bool          // end after a lost tenure
	StopSignal  syscall.Signal
	StopTimeout time.Duration // from the stop signal to SIGKILL

	Listen func(Event) // must not block
}

// An Outcome is why Run returned.
type Outcome struct {
	End    End
	Status int // ChildEnded: exit status, 128+N for signal N; Interrupted: 128+N
	// Interrupt: Ctrl-C killed the child. A shell that runs a script or a loop
	// ends it only if leaderrun dies of SIGINT, too.
	Interrupt bool
	Err       error // NoStore, NotElected, NotStarted, Failed: why
}

// An End of a run.
type End int

// The ends.
const (
	ChildEnded  End = iota // by itself, or after a stop signal to us
	NotStarted             // the command cannot be executed: Err is a syscall.Errno
	NotElected             // in the given time
	NoStore                // in the given time
	TenureLost             // under ExitOnLoss
	GaveUp                 // the tenure, under Candidate.Try
	TickOver               // nothing is left to do here for the tick: Status, or -1 for no election won
	Interrupted            // by a signal, while no command ran
	Failed                 // for good: Err wraps lock.ErrDenied or lock.ErrConfig
)

// A run is the state of Run.
type run struct {
	Config
	signals   chan os.Signal
	guard     *guard.Guard                // of the current campaign or tenure
	ready     chan ready                  // the guard of the next campaign; nil for none
	queued    atomic.Bool                 // this campaign has reached the store
	jobs      chan syscall.Signal         // job control stopped the child
	pause     *backoff.ExponentialBackOff // between campaigns in which no child was started
	catchTSTP func()                      // after stopSelf
	call      call                        // of a Job that does not repeat
	standBack bool                        // before the next campaign
}

// Run campaigns and runs the command until one of the ends.
func Run(c Config) Outcome {
	r := &run{Config: c, signals: make(chan os.Signal, 64), jobs: make(chan syscall.Signal, 1), pause: newPause()}
	catchSignals(r.signals)
	if r.calledOnce() {
		r.call = newCall(&r.Job)
	}
	r.Candidate.Notify = r.notice
	r.Candidate.Expect = r.expect
	r.Candidate.Enqueue = r.enqueue
	r.Candidate.Cgroup = func() string { return r.guard.Cgroup() }
	r.Candidate.Orphans = func(ctx context.Context, rec lock.Record) error {
		if rec.Host == nil {
			return nil
		}
		return guard.EndOrphans(ctx, rec.Host.Cgroup, rec.Host.Child, rec.Host.Start, r.Mark(rec.Token))
	}
	for wait := time.Duration(0); ; wait = r.pause.NextBackOff() {
		lease, out := r.campaign(wait)
		if lease == nil {
			return out
		}
		if r.passOn(lease) {
			continue
		}
		if out, again := r.lead(lease); !again {
			return out
		}
	}
}

// calledOnce reports whether this process is for one tick.
func (r *run) calledOnce() bool { return r.Job.recorded() && !r.Job.Repeat }

// notice turns what a store says into events.
func (r *run) notice(n lock.Notice) {
	switch n.Kind {
	case lock.StandingBy:
		r.queued.Store(true)
		r.Listen(Event{Kind: StandingBy, Holder: n.Holder})
	case lock.RenewalFailing:
		r.Listen(Event{Kind: RenewalFailing, Err: n.Err, Left: n.Left})
	case lock.Renewing:
		r.Listen(Event{Kind: Renewing})
	case lock.Renewed:
		r.Listen(Event{Kind: Renewed, Took: n.Took, Until: n.Until, Every: n.Every})
	case lock.Warning:
		r.Listen(Event{Kind: Warning, Err: n.Err})
	}
}

// ready is what came of starting a guard.
type ready struct {
	guard *guard.Guard
	err   error
}

// expect starts the guard while the store is asked for a lease. It is kept for the
// next campaign if that takes longer.
func (r *run) expect() {
	if r.ready != nil {
		return
	}
	c := make(chan ready, 1)
	go func() {
		g, err := r.startGuard(nil)
		c <- ready{g, err}
	}()
	r.ready = c
}

// dismissReady ends the guard that nothing is to be expected for any more.
func (r *run) dismissReady() {
	if r.ready == nil {
		return
	}
	if next := <-r.ready; next.err == nil {
		next.guard.Dismiss()
	}
	r.ready = nil
}

// enqueue has a guard before the candidate enters the queue: it gives the
// ticket back should this process die there, and is ready to start the command
// the moment the election is won.
func (r *run) enqueue(t lock.Ticket) error {
	ticket, err := r.Ticket(t)
	if err != nil {
		return err
	}
	if r.ready != nil {
		next := <-r.ready
		r.guard, r.ready, err = next.guard, nil, next.err
	} else {
		r.guard, err = r.startGuard(t.File)
	}
	if err != nil {
		return err
	}
	return r.guard.Prepare(ticket)
}

func (r *run) startGuard(held *os.File) (*guard.Guard, error) {
	return guard.Start(guard.Spec{
		Path: r.Path, Argv: r.Argv, Held: held,
		Stopped: func(sig syscall.Signal) { offer(r.jobs, sig) },
		Unkillable: func(pid int, err error) {
			r.Listen(Event{Kind: Unkillable, PID: pid, Err: err})
		},
	})
}

func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// leaveTimeout bounds how long a standby that was told to stop tries to leave
// the queue by itself.
const leaveTimeout = 1500 * time.Millisecond

var errWaited = errors.New("waited long enough")

// newPause returns pauses, randomised by half, so that candidates do not come
// all at once when a store is back.
func newPause() *backoff.ExponentialBackOff {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	pause.MaxInterval = 3 * time.Second
	return pause
}

// campaign returns a lease, or why there is none and never will be. It begins
// after the wait.
func (r *run) campaign(wait time.Duration) (lock.Lease, Outcome) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	type result struct {
		lease lock.Lease
		out   Outcome
	}
	acquired := make(chan result, 1)
	go func() {
		lease, out := r.queue(ctx, wait)
		acquired <- result{lease, out}
	}()
	for {
		select {
		case got := <-acquired:
			return got.lease, got.out
		case sig := <-r.signals:
			if !r.endsStandby(sig) {
				continue
			}
			cancel(errors.New(r.tellStopping(sig.(syscall.Signal))))
			select {
			case got := <-acquired:
				if got.lease != nil {
					r.release(got.lease)
				}
			case <-time.After(leaveTimeout): // the guard does it when we are gone
			}
			return nil, Outcome{End: Interrupted, Status: 128 + int(sig.(syscall.Signal))}
		}
	}
}

// queue is campaign without the signals.
func (r *run) queue(ctx context.Context, wait time.Duration) (lock.Lease, Outcome) {
	defer r.dismissReady()
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	if r.standBack {
		r.coolDown(ctx)
		r.standBack = false
	}
	if r.Wait > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, r.Wait, errWaited)
		defer stop()
	}
	if r.calledOnce() {
		return r.queueOnce(ctx)
	}
	lease, err := r.acquire(ctx)
	if err != nil {
		return nil, r.notElected(err)
	}
	return lease, Outcome{}
}

// acquire tries until it has a lease, trying makes no sense, or ctx is done.
func (r *run) acquire(ctx context.Context) (lock.Lease, error) {
	err := context.Cause(ctx)
	for pause := newPause(); ctx.Err() == nil; {
		r.queued.Store(false)
		r.guard = nil
		r.Listen(Event{Kind: Campaigning})
		began := time.Now()
		var lease lock.Lease
		if lease, err = r.Locker.Acquire(ctx, r.Candidate); err == nil {
			return lease, nil
		}
		r.leave(err)
		if ctx.Err() != nil || r.Candidate.Try || errors.Is(err, lock.ErrHeld) ||
			errors.Is(err, lock.ErrDenied) || errors.Is(err, lock.ErrConfig) {
			return nil, err
		}
		if time.Since(began) > pause.MaxInterval {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		r.Listen(Event{Kind: Unavailable, Err: err, Left: wait})
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
	return nil, err
}

// leave ends the guard of a campaign that failed; if the store still knows the
// candidate, the guard stays behind to give the ticket back.
func (r *run) leave(err error) {
	switch {
	case r.guard == nil:
	case errors.Is(err, lock.ErrLeftBehind):
		r.guard.Abandon()
	default:
		r.guard.Dismiss()
	}
	r.guard = nil
}

func (r *run) notElected(err error) Outcome {
	switch {
	case errors.Is(err, lock.ErrDenied), errors.Is(err, lock.ErrConfig):
		return Outcome{End: Failed, Err: err}
	case errors.Is(err, lock.ErrHeld), r.queued.Load():
		return Outcome{End: NotElected, Err: err}
	case errors.Is(err, lock.ErrUnavailable), errors.Is(err, errWaited):
		return Outcome{End: NoStore, Err: err}
	default:
		return Outcome{End: Failed, Err: err}
	}
}
