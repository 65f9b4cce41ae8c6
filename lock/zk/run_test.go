package zk

import (
	"context"
	"encoding/json"
	"errors"
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
	return r.startWith(s, lock.Candidate{ID: id, Host: "test", TTL: testTTL})
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
	if limit > 0 {
		within(a.T, a.id+" to lead", limit, a.done)
	}
	if a.err != nil {
		a.Fatalf("%s: %v", a.id, a.err)
	}
	return a.lease
}

// takesOver returns the run that leads at last: this one, or, if the ensemble took
// too long to find itself a leader, another try.
func (a *run) takesOver(s *Store) *run {
	a.Helper()
	for tries := 0; ; tries++ {
		within(a.T, a.id+" to end its campaign", 2*patient, a.done)
		if a.err == nil || tries == 5 || !errors.Is(a.err, lock.ErrUnavailable) {
			a.wins(0)
			return a
		}
		a.Logf("%s: %v", a.id, a.err)
		a = a.startWith(s, lock.Candidate{ID: a.id, TTL: 10 * time.Second})
	}
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

// owner reads the ticket.
func (a *run) owner() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var t ticket
	if err := json.Unmarshal(a.ticket.Data, &t); err != nil {
		a.Fatal(err)
	}
	return t.Node
}
