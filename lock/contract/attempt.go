package contract

import (
	"context"
	"errors"
	"os"
	"time"

	"leaderrun/lock"
)

// An attempt is one candidate that campaigns as the supervisor does: again and
// again while the store is unavailable, and its ticket is given back when it
// could not leave the queue.
type attempt struct {
	p       *place
	id      string
	cancel  context.CancelCauseFunc
	notices chan lock.Notice
	queued  chan lock.Ticket // the ticket of each campaign, as a guard inherited it
	done    chan struct{}    // closed when lease or err is there

	lease lock.Lease
	err   error
}

func (p *place) candidate(id string) lock.Candidate {
	return lock.Candidate{ID: id, Host: "contract", PID: os.Getpid(), TTL: p.TTL, Grace: p.TTL / 10}
}

// start starts a campaign in the background; the store is a connection.
func (p *place) start(store lock.Store, c lock.Candidate) *attempt {
	p.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &attempt{
		p: p, id: c.ID, cancel: cancel, notices: make(chan lock.Notice, 100),
		queued: make(chan lock.Ticket, 100), done: make(chan struct{}),
	}
	c.Notify = func(n lock.Notice) {
		select {
		case a.notices <- n:
		default:
			p.Errorf("%s: nobody reads so many notices: %+v", a.id, n)
		}
	}
	locker := store.Locker(p.election)
	go func() {
		defer close(a.done)
		for pause := time.Duration(0); ; pause = 50 * time.Millisecond {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			a.once(ctx, store, locker, c)
			if !errors.Is(a.err, lock.ErrUnavailable) || ctx.Err() != nil {
				return
			}
		}
	}()
	p.Cleanup(func() {
		cancel(errors.New("end of test"))
		within(p, a.id+" to end its campaign", patient, a.done)
		if a.lease != nil {
			_ = a.lease.Release(context.Background())
		}
	})
	return a
}

// once is one campaign.
func (a *attempt) once(ctx context.Context, store lock.Store, locker lock.Locker, c lock.Candidate) {
	var ticket lock.Ticket
	enqueue := c.Enqueue
	c.Enqueue = func(t lock.Ticket) error {
		ticket = inherit(a.p, t)
		a.queued <- ticket
		if enqueue != nil {
			return enqueue(t)
		}
		return nil
	}
	a.lease, a.err = locker.Acquire(ctx, c)
	if errors.Is(a.err, lock.ErrLeftBehind) {
		if err := store.Release(context.WithoutCancel(ctx), ticket); err != nil {
			a.p.Errorf("%s: give back ticket: %v", a.id, err)
		}
	}
}

// wins returns the lease, which must come within limit.
func (a *attempt) wins(limit time.Duration) lock.Lease {
	a.p.Helper()
	within(a.p, a.id+" to lead", limit, a.done)
	if a.err != nil {
		a.p.Fatalf("%s: acquire: %v", a.id, a.err)
	}
	return a.lease
}

// fails returns the error, which must come within limit.
func (a *attempt) fails(limit time.Duration) error {
	a.p.Helper()
	within(a.p, a.id+" to give up", limit, a.done)
	if a.err == nil {
		a.p.Fatalf("%s leads with token %d, want an error", a.id, a.lease.Token())
	}
	return a.err
}

// waits asserts that the candidate stays in the queue for a while.
func (a *attempt) waits(d time.Duration) {
	a.p.Helper()
	select {
	case <-a.done:
		a.p.Fatalf("%s ended its campaign (error %v), want it to wait", a.id, a.err)
	case <-time.After(d):
	}
}

// standsBehind waits for the notice that the holder of the token leads; 0 is
// nobody.
func (a *attempt) standsBehind(token lock.Token, limit time.Duration) lock.Holder {
	a.p.Helper()
	for end := time.After(limit); ; {
		select {
		case n := <-a.notices:
			if n.Kind == lock.StandingBy && n.Holder.Token == token {
				return n.Holder
			}
		case <-end:
			a.p.Fatalf("after %v %s was not told that token %d leads", limit, a.id, token)
		}
	}
}

// lead campaigns and returns the lease.
func (p *place) lead(id string) lock.Lease {
	p.Helper()
	return p.start(p.store, p.candidate(id)).wins(patient)
}

// standBy campaigns over a connection of its own behind a holder.
func (p *place) standBy(id string, behind lock.Lease) *attempt {
	p.Helper()
	a := p.start(p.connect(), p.candidate(id))
	a.standsBehind(behind.Token(), patient)
	return a
}

func (p *place) release(l lock.Lease) {
	p.Helper()
	p.must(l.Release(p.Context()))
}
