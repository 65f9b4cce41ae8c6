package etcd

import (
	"context"
	"sync"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// pollEvery is the least pause between two questions for a lease's time to live,
// pollFresh the greatest age of an answer that proves something.
const (
	pollEvery = 250 * time.Millisecond
	pollFresh = 500 * time.Millisecond
)

// A settling is the wait of the first in the queue for a tenure that did not
// say that it ended. It is over when the record says so, or at `until`.
type settling struct {
	owner string // of the record that it is about
	until bootclock.Instant
}

// newSettling begins when the place of the owner is seen to be gone. If its
// lease is known to have run out, nothing that it protected is alive once its
// whole time has passed, which it mostly has.
func newSettling(owner string, gone bootclock.Instant, e *expiry) settling {
	until := gone.Add(lock.SettleTime)
	if end, ok := e.end(gone); ok {
		until = min(until, end)
	}
	return settling{owner, until}
}

// settled tells whether we, being first, may write our record.
func (a *campaign) settled() bool {
	rec := a.v.rec
	if !rec.heldByOther(leaseName(a.x.id)) {
		a.settle = settling{}
		return true
	}
	if a.settle.owner != rec.Owner {
		// Whoever that was is not in the queue: it went before we looked.
		a.settle = newSettling(rec.Owner, bootclock.Now(), nil)
	}
	return bootclock.Now() >= a.settle.until
}

// An expiry follows how long the lease of the leader has still to run, so that
// its natural end is told from its being revoked. Only the next in the queue
// does so.
type expiry struct {
	mu   sync.Mutex
	last bootclock.Instant // of the latest answer: when it was asked for
	zero bootclock.Instant // when the first of an unbroken row of answers came that said 0 s; 0 for none
}

// run asks until the lease is gone or ctx is done: seldom as long as much is
// left, so that in a quiet election there is about one question per TTL.
func (e *expiry) run(ctx context.Context, s *Store, id leaseID) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		asked := bootclock.Now()
		var resp *pb.LeaseTimeToLiveResponse
		_, err := s.pool.Await(ctx)
		if err == nil {
			err = s.request(ctx, func(ctx context.Context, c *conn) (err error) {
				resp, err = call(ctx, c.left, &pb.LeaseTimeToLiveRequest{ID: int64(id)})
				return err
			})
		}
		next := pollEvery
		if err == nil {
			// A lease that is late to be removed has less than nothing left; only
			// one that is gone was never granted anything.
			if resp.GrantedTTL == 0 {
				return // the watch tells when
			}
			left := max(0, resp.TTL)
			e.note(asked, bootclock.Now(), left)
			// The seconds are rounded down. In the last one it is asked often
			// enough to know its beginning, and thereby the end.
			next = max(next, time.Duration(left-1)*time.Second)
		}
		t.Reset(next)
	}
}

func (e *expiry) note(asked, answered bootclock.Instant, left int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = asked
	switch {
	case left > 0: // renewed, or not yet so far
		e.zero = 0
	case e.zero == 0:
		e.zero = answered
	}
}

// end returns when the lease had run out for certain, if it was about to when
// it was last seen before it was gone. A lease that is revoked by hand in its
// last second is no worse: until `end` the settling goes on.
func (e *expiry) end(gone bootclock.Instant) (bootclock.Instant, bool) {
	if e == nil {
		return 0, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.zero == 0 || gone.Sub(e.last) > pollFresh {
		return 0, false
	}
	return e.zero.Add(time.Second), true
}
