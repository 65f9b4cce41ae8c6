package consul

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"leaderrun/lock"
)

// A run is one Acquire in the background.
type run struct {
	*rig
	id     string
	cancel context.CancelCauseFunc
	done   chan struct{}
	lease  lock.Lease
	err    error

	mu      sync.Mutex
	ticket  lock.Ticket
	notices []lock.Notice
	heard   chan struct{}
}

func (r *rig) start(s *Store, id string) *run {
	return r.startWith(s, lock.Candidate{ID: id, Host: "test", TTL: testTTL, Grace: testTTL / 10})
}

func (r *rig) startWith(s *Store, c lock.Candidate) *run {
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &run{rig: r, id: c.ID, cancel: cancel, done: make(chan struct{}), heard: make(chan struct{}, 1)}
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
		defer close(a.done)
		a.lease, a.err = s.Locker("e").Acquire(ctx, c)
	}()
	r.Cleanup(func() {
		cancel(context.Canceled)
		<-a.done
		if a.lease != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_ = a.lease.Release(ctx)
		}
	})
	return a
}

func (r *rig) lead(s *Store, id string) *run {
	r.Helper()
	a := r.start(s, id)
	a.wins(patient)
	return a
}

// standBy returns once the candidate has been told who leads.
func (r *rig) standBy(s *Store, id string) *run {
	r.Helper()
	a := r.start(s, id)
	a.hears(lock.StandingBy, patient)
	return a
}

func (a *run) wins(limit time.Duration) lock.Lease {
	a.Helper()
	within(a.T, a.id+" to lead", limit, a.done)
	if a.err != nil {
		a.Fatalf("%s: %v", a.id, a.err)
	}
	return a.lease
}

// won is wins once the candidate is done.
func (a *run) won() lock.Lease {
	a.Helper()
	if a.err != nil {
		a.Fatalf("%s: %v", a.id, a.err)
	}
	return a.lease
}

func (a *run) waits(d time.Duration) {
	a.Helper()
	select {
	case <-a.done:
		a.Fatalf("%s does not wait: %v", a.id, a.err)
	case <-time.After(d):
	}
}

func (a *run) hears(kind lock.NoticeKind, limit time.Duration) lock.Notice {
	a.Helper()
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
			a.Fatalf("%s: no notice of kind %v", a.id, kind)
		}
	}
}

func (a *run) release() {
	a.Helper()
	a.must(a.lease.Release(a.Context()))
}

// session reads the ticket.
func (a *run) session() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var t ticket
	if err := json.Unmarshal(a.ticket.Data, &t); err != nil {
		a.Fatal(err)
	}
	return t.Session
}

// survives waits until the lease has been renewed n times, and was not lost.
func (a *run) survives(n int, limit time.Duration) {
	a.Helper()
	end := time.After(limit)
	for range n {
		select {
		case <-a.lease.Renewed():
		case <-a.lease.Lost():
			a.Fatalf("lost: %v", a.lease.Err())
		case <-end:
			a.Fatalf("not renewed within %v", limit)
		}
	}
}
