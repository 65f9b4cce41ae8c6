package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// A locker is one election. It implements lock.Locker.
type locker struct {
	store    *Store
	election string
	keys     keys
}

var _ lock.Locker = (*locker)(nil)

// Acquire implements lock.Locker. A candidate that loses its lease or its place
// while it waits gets an error of kind ErrUnavailable and campaigns anew: with
// a new lease, a new ticket and a new guard.
func (l *locker) Acquire(ctx context.Context, c lock.Candidate) (lock.Lease, error) {
	if c.Notify == nil {
		c.Notify = func(lock.Notice) {}
	}
	if c.Try {
		// Only spares a lease and a guard; the place in the queue decides.
		if err := l.busy(ctx, c); err != nil {
			return nil, err
		}
	}
	if c.Expect != nil {
		c.Expect()
	}
	x, g, err := l.store.grant(ctx, l.keys, c.TTL)
	if err != nil {
		return nil, err
	}
	k, err := lock.Keep(x, g, c)
	if err != nil {
		_ = l.leave(x, false) // nobody waits behind a lease without a place
		return nil, err
	}
	if g.Lifetime < c.TTL {
		c.Notify(lock.Notice{Kind: lock.Warning, Err: fmt.Errorf("etcd granted a lease of %v where --ttl asks for %v", g.Lifetime, c.TTL)})
	}
	l.store.warnVersion(c.Notify)
	a := newCampaign(l, c, x, k, g.Lifetime)
	e, err := a.run(ctx)
	if err != nil {
		k.Stop()
		if left := l.leave(x, a.tried); left != nil && a.enqueued {
			// Of what kind that is must not be taken for the campaign's own.
			err = fmt.Errorf("%w (%w: %s)", err, lock.ErrLeftBehind, left.Error())
		}
		return nil, err
	}
	return e, nil
}

// busy returns ErrHeld if anybody stands in the queue.
func (l *locker) busy(ctx context.Context, c lock.Candidate) error {
	resp, err := l.store.txn(ctx, nil, []*pb.RequestOp{first(l.keys.queue())}, nil)
	if err != nil {
		return err
	}
	head := placeOf(rangeOf(resp, 0))
	if head == nil {
		return nil
	}
	if err := head.stranger(); err != nil {
		c.Notify(lock.Notice{Kind: lock.Warning, Err: err})
	}
	return lock.ErrHeld
}

// leave gives back what a campaign without success has, within leaveTime and
// whatever ctx that campaign had. The end of the lease removes the place; a
// request to put it that is still on its way then fails. If a winning
// transaction was sent, its answer may be what is missing.
func (l *locker) leave(x *session, tried bool) error {
	x.stop()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	var err error
	if tried {
		err = l.store.giveBack(ctx, l.keys, x.id, record{})
	}
	return errors.Join(err, lock.Persist(ctx, func(ctx context.Context) error { return l.store.revoke(ctx, x.id) }))
}

// run takes the campaign from the lease to the victory.
func (a *campaign) run(parent context.Context) (*lease, error) {
	ctx, cancel := context.WithCancel(parent)
	// The lease is renewed all the while. Without it there is nothing to wait for.
	a.tasks.Go(func() {
		select {
		case <-a.keeper.Lost():
			cancel()
		case <-ctx.Done():
		}
	})
	e, err := a.compete(ctx)
	cancel()
	a.tasks.Wait()
	switch {
	case err == nil:
		return e, nil
	case a.keeper.Err() != nil:
		return nil, fmt.Errorf("%w: lost the place in the queue: %w", lock.ErrUnavailable, a.keeper.Err())
	case parent.Err() != nil:
		return nil, context.Cause(parent)
	}
	return nil, err
}

func (a *campaign) compete(ctx context.Context) (*lease, error) {
	a.enqueued = true
	if a.c.Enqueue != nil {
		if err := a.c.Enqueue(newTicket(a.l.election, a.x.id)); err != nil {
			return nil, fmt.Errorf("enter the queue: %w", err)
		}
	}
	if err := a.enqueue(ctx); err != nil {
		return nil, err
	}
	if a.c.Try && a.v.pred != nil {
		a.warnOfStranger()
		return nil, lock.ErrHeld
	}
	return a.wait(ctx)
}

// enqueue puts the lock key, once: an attempt whose answer was lost is found by
// the next one.
func (a *campaign) enqueue(ctx context.Context) error {
	holder, err := json.Marshal(lock.Holder{ID: a.c.ID, Host: a.c.Host, PID: a.c.PID, Since: time.Now()})
	if err != nil {
		return err
	}
	k := a.l.keys
	absent := []*pb.Compare{created(a.x.key, 0)}
	enter := []*pb.RequestOp{
		// What stands there before the put.
		last(k.queue(), 0),
		get(k.record()),
		first(k.queue()),
		put(a.x.key, holder, a.x.id),
	}
	var resp *pb.TxnResponse
	err = lock.Persist(ctx, func(ctx context.Context) (err error) {
		resp, err = a.l.store.txn(ctx, absent, enter, []*pb.RequestOp{get(a.x.key)})
		return err
	})
	if errors.Is(err, errLeaseNotFound) {
		err = fmt.Errorf("%w: %w", lock.ErrUnavailable, err) // it ended, or the ticket was given back
	}
	if err != nil {
		return fmt.Errorf("enter the queue: %w", err)
	}
	rev := resp.Header.Revision
	if !resp.Succeeded {
		a.x.queued(only(rangeOf(resp, 0)).CreateRevision)
		return lock.Persist(ctx, a.look)
	}
	a.x.queued(rev)
	rec, err := decodeRecord(k.record(), only(rangeOf(resp, 1)), rev)
	if err != nil {
		return err
	}
	a.see(placeOf(rangeOf(resp, 0)), placeOf(rangeOf(resp, 2)), rec)
	return nil
}

// won makes the lease of a victory whose record has that revision.
func (a *campaign) won(rev int64) (*lease, error) {
	if err := a.keeper.Err(); err != nil {
		return nil, err // leave gives it back: nothing was started
	}
	rec := record{Record: a.held, key: a.l.keys.record(), rev: rev, seen: rev}
	return newLease(a.l, a.x, a.keeper, rec, a.replaced), nil
}
