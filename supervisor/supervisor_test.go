//go:build linux

package supervisor

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/supervisor/guard"
)

// The tests here use a fake store, to reach what a real one does not show on
// demand; on real ones the loop is tested in e2e.

// TestMain lets the test binary be the guard and the release command.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case guard.GuardCommand:
			fd := func(i int) int { n, _ := strconv.Atoi(os.Args[i]); return n }
			os.Exit(guard.Serve(fd(2), fd(3), fd(4), os.Args[5], os.Args[7:]))
		case guard.SentinelCommand:
			os.Exit(guard.Watch(os.Args[2]))
		case guard.ReleaseCommand: // the ticket names a file to make
			name, _ := io.ReadAll(os.Stdin)
			_ = os.WriteFile(string(name), []byte("given back"), 0o600)
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// fakeLocker answers the n-th Acquire with the n-th function.
type fakeLocker struct {
	lock.Locker
	answers []func(ctx context.Context) (lock.Lease, error)
}

func (f *fakeLocker) Acquire(ctx context.Context, c lock.Candidate) (lock.Lease, error) {
	next := f.answers[0]
	f.answers = f.answers[1:]
	if err := c.Enqueue(lock.Ticket{}); err != nil {
		return nil, err
	}
	return next(ctx)
}

// fakeLease is valid until a fixed instant.
type fakeLease struct {
	lock.Lease
	until    bootclock.Instant
	lost     chan struct{}
	err      error
	released error // what Release returns

	mu       sync.Mutex
	releases int
}

func (f *fakeLease) ValidUntil() bootclock.Instant { return f.until }
func (f *fakeLease) Grace() time.Duration          { return time.Second }
func (f *fakeLease) Renewed() <-chan struct{}      { return nil }
func (f *fakeLease) Lost() <-chan struct{}         { return f.lost }
func (f *fakeLease) Token() lock.Token             { return 1 }
func (f *fakeLease) Previous() lock.Record         { return lock.Record{} }
func (f *fakeLease) Requests() <-chan lock.Request { return nil }

func (f *fakeLease) Err() error {
	select {
	case <-f.lost:
		return f.err
	default:
		return nil
	}
}

func (f *fakeLease) Release(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.releases++
	return f.released
}

func leaseFor(d time.Duration) *fakeLease {
	return &fakeLease{until: bootclock.Now().Add(d), lost: make(chan struct{}), err: lock.ErrLost}
}

func (f *fakeLease) acquire(context.Context) (lock.Lease, error) { return f, nil }

func held(context.Context) (lock.Lease, error) { return nil, lock.ErrHeld }

// A recorder keeps the events of a run and tells of each.
type recorder struct {
	mu    sync.Mutex
	kinds []Kind
	on    map[Kind]func(Event)
}

func (r *recorder) listen(e Event) {
	r.mu.Lock()
	r.kinds = append(r.kinds, e.Kind)
	f := r.on[e.Kind]
	r.mu.Unlock()
	if f != nil {
		f(e)
	}
}

func (r *recorder) saw(kinds ...Kind) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range kinds {
		if !slices.Contains(r.kinds, k) {
			return false
		}
	}
	return true
}

func config(t *testing.T, r *recorder, script string, answers ...func(context.Context) (lock.Lease, error)) Config {
	t.Helper()
	ticket := filepath.Join(t.TempDir(), "given-back")
	return Config{
		Locker:    &fakeLocker{answers: answers},
		Candidate: lock.Candidate{ID: "test", TTL: 15 * time.Second},
		Path:      "/bin/sh", Argv: []string{"sh", "-c", script},
		Env:        func(lock.Token) []string { return nil },
		Mark:       func(lock.Token) string { return "" },
		Ticket:     func(lock.Ticket) ([]byte, error) { return []byte(ticket), nil },
		StopSignal: syscall.SIGTERM, StopTimeout: time.Second,
		Listen: r.listen,
	}
}

// What cannot be released is left to the guard, which holds the ticket.
func TestGuardReleasesWhatTheSupervisorCannot(t *testing.T) {
	lease := leaseFor(time.Minute)
	lease.released = lock.ErrUnavailable
	r := &recorder{}
	c := config(t, r, "exit 3", lease.acquire)
	out := Run(c)
	if out.End != ChildEnded || out.Status != 3 || !r.saw(NotReleased) || r.saw(Released) {
		t.Errorf("outcome %+v, events %v", out, r.kinds)
	}
	ticket, _ := c.Ticket(lock.Ticket{})
	deadline := time.After(10 * time.Second)
	for {
		if b, _ := os.ReadFile(string(ticket)); len(b) > 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatal("the guard did not give the ticket back")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// While renewals fail the stop signal comes a loss grace before the deadline,
// and a child that obeys is the end of the tenure, not of leaderrun.
func TestStopSignalBeforeTheDeadline(t *testing.T) {
	lease := leaseFor(2500 * time.Millisecond)
	var stopping, stopped bootclock.Instant
	r := &recorder{on: map[Kind]func(Event){
		ChildStopping: func(Event) { stopping = bootclock.Now() },
		ChildStopped: func(e Event) {
			stopped = bootclock.Now()
			if e.Status != 0 || e.Cause != "renewals fail" {
				t.Errorf("child stopped: %+v", e)
			}
		},
	}}
	c := config(t, r, `trap "exit 0" TERM; while :; do sleep 0.01; done`, lease.acquire, held)
	out := Run(c)
	if out.End != NotElected {
		t.Errorf("outcome %+v, want a second campaign", out)
	}
	if due := lease.until.Add(-lease.Grace()); stopping < due || stopping > lease.until {
		t.Errorf("stop signal %v after it was due", stopping.Sub(due))
	}
	if stopped > lease.until {
		t.Errorf("child stopped %v after the deadline", stopped.Sub(lease.until))
	}
}

func TestLossKillsAtOnce(t *testing.T) {
	for _, exitOnLoss := range []bool{false, true} {
		lease := leaseFor(time.Minute)
		r := &recorder{on: map[Kind]func(Event){ChildStarted: func(Event) { close(lease.lost) }}}
		c := config(t, r, `trap "" TERM; while :; do sleep 1; done`, lease.acquire, held)
		c.ExitOnLoss = exitOnLoss
		out := Run(c)
		want := NotElected
		if exitOnLoss {
			want = TenureLost
		}
		if out.End != want || !r.saw(Lost, ChildStopped, Released) || r.saw(ChildStopping) {
			t.Errorf("outcome %+v, events %v", out, r.kinds)
		}
	}
}

// A tenure that is lost between election and start starts nothing.
func TestLostBeforeTheStart(t *testing.T) {
	lease := leaseFor(time.Minute)
	close(lease.lost)
	r := &recorder{}
	out := Run(config(t, r, "exit 3", lease.acquire, held))
	if out.End != NotElected || r.saw(ChildStarted) || !r.saw(Lost, Released) {
		t.Errorf("outcome %+v, events %v", out, r.kinds)
	}
}

// A standby ends when told to, even if the store does not let go.
func TestStandbyEndsWhileTheStoreHangs(t *testing.T) {
	hung := make(chan struct{})
	defer close(hung)
	r := &recorder{}
	c := config(t, r, "exit 3", func(context.Context) (lock.Lease, error) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		<-hung
		return nil, lock.ErrUnavailable
	})
	if out := Run(c); out.End != Interrupted || out.Status != 128+15 {
		t.Errorf("outcome %+v", out)
	}
}

// Elected in the moment of being told to end: given back, nothing started.
func TestElectedWhileEnding(t *testing.T) {
	lease := leaseFor(time.Minute)
	r := &recorder{}
	c := config(t, r, "exit 3", func(ctx context.Context) (lock.Lease, error) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		<-ctx.Done()
		return lease, nil
	})
	if out := Run(c); out.End != Interrupted || lease.releases != 1 || r.saw(ChildStarted) {
		t.Errorf("outcome %+v, %d releases, events %v", out, lease.releases, r.kinds)
	}
}

func TestOutcomesWithoutALease(t *testing.T) {
	failing := func(err error) func(context.Context) (lock.Lease, error) {
		return func(context.Context) (lock.Lease, error) { return nil, err }
	}
	for _, test := range []struct {
		err  error
		try  bool
		want End
	}{
		{lock.ErrHeld, true, NotElected},
		{lock.ErrUnavailable, true, NoStore},
		{lock.ErrDenied, false, Failed},
		{lock.ErrConfig, false, Failed},
		{errors.Join(lock.ErrUnavailable, lock.ErrLeftBehind), true, NoStore},
	} {
		c := config(t, &recorder{}, "exit 3", failing(test.err))
		c.Candidate.Try = test.try
		if out := Run(c); out.End != test.want {
			t.Errorf("%v: outcome %+v, want %v", test.err, out, test.want)
		}
	}
}

// A store that is down is waited for, and the wait is bounded by --wait.
func TestUnavailableStoreIsTriedAgain(t *testing.T) {
	down := func(context.Context) (lock.Lease, error) { return nil, lock.ErrUnavailable }
	lease := leaseFor(time.Minute)
	r := &recorder{}
	if out := Run(config(t, r, "exit 4", down, down, lease.acquire)); out.Status != 4 || !r.saw(Unavailable) {
		t.Errorf("outcome %+v, events %v", out, r.kinds)
	}
	c := config(t, r, "exit 4", slices.Repeat([]func(context.Context) (lock.Lease, error){down}, 100)...)
	c.Wait = 300 * time.Millisecond
	if out := Run(c); out.End != NoStore {
		t.Errorf("outcome %+v, want NoStore", out)
	}
}
