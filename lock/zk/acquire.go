package zk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"leaderrun/lock"
)

// A locker is one election. It implements lock.Locker.
type locker struct {
	store    *Store
	election string
	keys     keys
}

var _ lock.Locker = (*locker)(nil)

// Acquire implements lock.Locker. A candidate that loses its session or its place
// while it waits gets an error of kind ErrUnavailable and campaigns anew: with
// a new session, a new ticket and a new guard.
func (l *locker) Acquire(ctx context.Context, c lock.Candidate) (lock.Lease, error) {
	if c.Notify == nil {
		c.Notify = func(lock.Notice) {}
	}
	if c.Try {
		// Only spares a session and a guard; the place in the queue decides.
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
		_ = l.leave(x, false) // nobody waits behind a session without a place
		return nil, err
	}
	if g.Lifetime < c.TTL {
		c.Notify(lock.Notice{Kind: lock.Warning, Err: fmt.Errorf(
			"zookeeper granted a session of %v where --ttl asks for %v: see maxSessionTimeout and tickTime of the server", g.Lifetime, c.TTL)})
	}
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
	var first *place
	var n *node
	err := l.store.request(ctx, func(ctx context.Context, c *conn) error {
		if err := c.sync(ctx, l.keys.queue()); err != nil {
			return err
		}
		names, err := c.children(ctx, l.keys.queue())
		if len(names) == 0 || err != nil {
			return err
		}
		p := parsePlace(l.keys.queue(), names[0])
		first = &p
		n, err = c.stat(ctx, p.path)
		return err
	})
	if err != nil || first == nil {
		return err
	}
	if n != nil {
		if err := first.odd(n); err != nil {
			c.Notify(lock.Notice{Kind: lock.Warning, Err: err})
		}
	}
	return lock.ErrHeld
}

// leave gives back what a campaign without success has, within leaveTime and
// whatever ctx that campaign had. The end of the session removes the place; a
// request to make it that is still on its way then fails. If a winning
// transaction was sent, its answer may be what is missing.
func (l *locker) leave(x *session, tried bool) error {
	x.stop()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	var err error
	if tried {
		err = l.store.giveBack(ctx, x.pool, l.keys, tenure{owner: x.owner})
		if errors.Is(err, lock.ErrLost) {
			err = l.store.giveBack(ctx, l.store.common, l.keys, tenure{owner: x.owner})
		}
	}
	return errors.Join(err, x.close(ctx))
}

// run takes the campaign from the session to the victory.
func (a *campaign) run(parent context.Context) (*lease, error) {
	ctx, cancel := context.WithCancel(parent)
	a.ctx = ctx
	// The session is renewed all the while. Without it there is nothing to wait for.
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
	case errors.Is(err, lock.ErrLost): // the keeper was not told yet
		return nil, fmt.Errorf("%w: lost the place in the queue: %w", lock.ErrUnavailable, err)
	}
	return nil, err
}

func (a *campaign) compete(ctx context.Context) (*lease, error) {
	a.enqueued = true
	if a.c.Enqueue != nil {
		if err := a.c.Enqueue(newTicket(a.l.election, a.x.owner)); err != nil {
			return nil, fmt.Errorf("enter the queue: %w", err)
		}
	}
	holder, err := json.Marshal(lock.Holder{ID: a.c.ID, Host: a.c.Host, PID: a.c.PID, Since: time.Now()})
	if err != nil {
		return nil, err
	}
	a.x.data = holder
	err = persist(ctx, a.x.enqueue)
	if err != nil {
		return nil, fmt.Errorf("enter the queue: %w", err)
	}
	if err := persist(ctx, a.look); err != nil {
		return nil, err
	}
	if a.c.Try && a.v.pred != nil {
		return nil, lock.ErrHeld
	}
	return a.wait(ctx)
}

// won makes the lease of a victory with that record.
func (a *campaign) won(rec record) (*lease, error) {
	if err := a.keeper.Err(); err != nil {
		return nil, err // leave gives it back: nothing was started
	}
	return newLease(a.l, a.x, a.keeper, rec, a.replaced), nil
}
