package contract

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"leaderrun/lock"
)

// A Campaign is one Acquire in the background, for the tests of a store's own package.
type Campaign struct {
	ID     string
	Cancel context.CancelCauseFunc
	Done   chan struct{} // closed when Lease or Err is there
	Lease  lock.Lease
	Err    error

	t       *testing.T
	mu      sync.Mutex
	ticket  lock.Ticket
	notices []lock.Notice
	heard   chan struct{}
}

// Start campaigns for the election "e"; whatever comes of it ends with the test.
func Start(t *testing.T, s lock.Store, c lock.Candidate) *Campaign {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &Campaign{t: t, ID: c.ID, Cancel: cancel, Done: make(chan struct{}), heard: make(chan struct{}, 1)}
	c.Enqueue = func(t lock.Ticket) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.ticket = t
		return nil
	}
	c.Notify = func(n lock.Notice) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.notices = append(a.notices, n)
		select {
		case a.heard <- struct{}{}:
		default:
		}
	}
	go func() {
		defer close(a.Done)
		a.Lease, a.Err = s.Locker("e").Acquire(ctx, c)
	}()
	t.Cleanup(func() {
		cancel(context.Canceled)
		<-a.Done
		if a.Lease != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_ = a.Lease.Release(ctx)
		}
	})
	return a
}

// Holding is a Campaign that got its lease elsewhere.
func Holding(t *testing.T, l lock.Lease) *Campaign {
	t.Helper()
	return &Campaign{t: t, Lease: l}
}

// Ticket is what Enqueue got.
func (a *Campaign) Ticket() lock.Ticket {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ticket
}

// Notices are those that nobody has heard yet, but for the signs of life.
func (a *Campaign) Notices() []lock.Notice {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.notices), func(n lock.Notice) bool { return n.Kind == lock.Renewed })
}

// Wins returns the lease, which must come within limit.
func (a *Campaign) Wins(limit time.Duration) lock.Lease {
	a.t.Helper()
	select {
	case <-a.Done:
	case <-time.After(limit):
		a.t.Fatalf("after %v still waiting for %s to lead", limit, a.ID)
	}
	if a.Err != nil {
		a.t.Fatalf("%s: %v", a.ID, a.Err)
	}
	return a.Lease
}

// Waits asserts that the candidate neither leads nor gives up for a while.
func (a *Campaign) Waits(d time.Duration) {
	a.t.Helper()
	select {
	case <-a.Done:
		a.t.Fatalf("%s does not wait: %v", a.ID, a.Err)
	case <-time.After(d):
	}
}

// Hears waits for a notice of that kind.
func (a *Campaign) Hears(kind lock.NoticeKind, limit time.Duration) lock.Notice {
	a.t.Helper()
	for end := time.After(limit); ; {
		a.mu.Lock()
		for i, n := range a.notices {
			if n.Kind == kind {
				a.notices = a.notices[i+1:]
				a.mu.Unlock()
				return n
			}
		}
		a.mu.Unlock()
		select {
		case <-a.heard:
		case <-end:
			a.t.Fatalf("%s: no notice of kind %v", a.ID, kind)
		}
	}
}

// Survives waits until the lease has been renewed n times, and was not lost.
func (a *Campaign) Survives(n int, limit time.Duration) {
	a.t.Helper()
	end := time.After(limit)
	for range n {
		select {
		case <-a.Lease.Renewed():
		case <-a.Lease.Lost():
			a.t.Fatalf("lost: %v", a.Lease.Err())
		case <-end:
			a.t.Fatalf("not renewed within %v", limit)
		}
	}
}

// Release gives the lease back.
func (a *Campaign) Release() {
	a.t.Helper()
	if err := a.Lease.Release(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
}
