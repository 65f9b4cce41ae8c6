package zk

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// win writes our record if our node stands and the record is still the one for
// which we settled, all in one transaction. That we are first need not be seen
// again: the numbers of the queue only rise, so that nobody comes before us while
// our node stands. It returns our record, or none with a new view.
func (a *campaign) win(ctx context.Context) (record, error) {
	rec, own := a.v.rec, a.x.own.Load()
	if rec.exists && rec.State == lock.Held && rec.Owner == a.x.owner {
		return rec, nil // by an attempt whose answer was lost
	}
	if !a.tried {
		a.tried = true
		token := lock.Token(own.czxid)
		a.held = lock.Record{
			Token: token, State: lock.Held, TTL: a.ttl, Owner: a.x.owner,
			Holder: lock.Holder{ID: a.c.ID, Host: a.c.Host, PID: a.c.PID, Token: token},
		}
	}
	a.held.Holder.Since, a.replaced = time.Now(), rec.Record
	won := record{Record: a.held, exists: true}
	err := a.x.do(ctx, func(ctx context.Context, c *conn) error {
		results, err := c.multi(ctx, check(own.path), rec.write(a.l.keys, a.held, a.l.store.acl))
		if err == nil && results[1].Stat != nil {
			won.version = results[1].Stat.Version
		}
		return err
	})
	switch {
	case err == nil:
		return won, nil
	case failed(err, own.path) && errors.Is(err, zk.ErrNoNode):
		return record{}, a.lost()
	case errors.Is(err, zk.ErrBadVersion), errors.Is(err, zk.ErrNodeExists), errors.Is(err, zk.ErrNoNode):
		return record{}, a.look(ctx)
	}
	return record{}, err
}

// A settling is the wait of the first in the queue for a tenure that did not
// say that it ended. It is over when the record says so, or at `until`: whether a
// session ran out by itself, ZooKeeper does not tell.
type settling struct {
	owner string // of the record that it is about
	until bootclock.Instant
}

// newSettling begins when the place of the owner is seen to be gone.
func newSettling(owner string, gone bootclock.Instant) settling {
	return settling{owner, gone.Add(lock.SettleTime)}
}

// settleAfter begins to settle, once, after an owner that was not seen to go.
func (a *campaign) settleAfter(owner string) {
	if a.settle.owner != owner {
		a.settle = newSettling(owner, bootclock.Now())
	}
}

// settled tells whether we, being first, may write our record.
func (a *campaign) settled() bool {
	rec := a.v.rec
	if !rec.heldByOther(a.x.owner) {
		a.settle = settling{}
		return true
	}
	a.settleAfter(rec.Owner)
	return bootclock.Now() >= a.settle.until
}
