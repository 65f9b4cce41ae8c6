package zk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

const deleted = zk.EventNodeDeleted

// A view is what the campaign knows of the queue.
type view struct {
	stale bool   // what follows must be read again before anything is decided
	pred  *place // the nearest before us, or what else is in the way; nil: we are first
	rec   record
	leads bool // the owner of rec stands in the queue, as far as we know

	watchesRecord, watchesPred bool
}

// leader is who leads as far as people should be told; zero for nobody.
func (a *campaign) leader() lock.Holder {
	if !a.v.leads {
		return lock.Holder{}
	}
	h := a.v.rec.Holder
	h.Token = a.v.rec.Token
	return h
}

// look reads the queue as of now: as of a moment after our own node was made, for
// a server that has seen less does not talk to us. Whoever came before us and is
// still there is in it.
func (a *campaign) look(ctx context.Context) error {
	return a.x.do(ctx, func(ctx context.Context, c *conn) error {
		k := a.l.keys
		var queue, beside []string
		var rec record
		err := together(
			func() (err error) { queue, err = c.children(ctx, k.queue()); return err },
			func() (err error) { beside, err = c.children(ctx, k.base); return err },
			func() (err error) { rec, err = a.readRecord(ctx, c); return err },
		)
		if err != nil {
			return err
		}
		pred, ahead, err := a.nearest(ctx, c, queue)
		if err == nil && pred == nil {
			pred, err = a.stranger(ctx, c, beside)
		}
		if err == nil && ahead < watching && !a.v.watchesRecord {
			rec, err = a.watchRecord(ctx, c)
		}
		if err != nil {
			return err
		}
		a.see(pred, a.recall(rec), queue)
		if err := a.watchPred(ctx, c); err != nil {
			return err
		}
		a.lookAt = bootclock.Now().Add(a.again())
		return nil
	})
}

// together runs all at once. The answers come over one connection, in the order
// of the requests, but that is not known here and matters to nothing.
func together(all ...func() error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, f := range all {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *campaign) readRecord(ctx context.Context, c *conn) (record, error) {
	n, err := c.get(ctx, a.l.keys.record())
	if err != nil {
		return record{}, err
	}
	return decodeRecord(a.l.keys.record(), n)
}

// watching is how many in the queue watch the record: the leader or who settles, who
// is behind that, and who then will be. The others hear of a new leader with their
// next look: a watch that all have set brings all of them at once.
const watching = 3

// watchRecord reads it again and is told of its change.
func (a *campaign) watchRecord(ctx context.Context, c *conn) (record, error) {
	n, w, err := c.watch(ctx, a.l.keys.record())
	if err != nil {
		return record{}, err
	}
	a.v.watchesRecord = true
	a.follow(w, "")
	return decodeRecord(a.l.keys.record(), n)
}

// recall puts what was seen before in the place of a record that is gone: whoever
// deletes an election with all its nodes takes the lock from its holder, for whom
// the next one settles even so.
func (a *campaign) recall(rec record) record {
	if rec.exists {
		a.l.store.last.Store(a.l.keys.base, rec.Record)
	} else if last, ok := a.l.store.last.Load(a.l.keys.base); ok {
		rec.Record = last.(lock.Record)
	}
	return rec
}

// nearest returns the place before ours, and how many are before us. Nodes that lost
// answers of ours have left are removed.
func (a *campaign) nearest(ctx context.Context, c *conn, queue []string) (pred *place, ahead int, err error) {
	own := a.x.own.Load()
	var odd *place
	found := false
	for _, name := range queue {
		p := parsePlace(a.l.keys.queue(), name)
		switch {
		case p.path == own.path:
			found = true
		case p.owner == a.x.owner:
			if _, err := c.multi(ctx, remove(p.path)); err != nil && !errors.Is(err, zk.ErrNoNode) {
				return nil, 0, err
			}
		case !p.ordered:
			odd = &p
		case p.before(own.place):
			ahead++
			if pred == nil || pred.before(p) {
				pred = &p
			}
		}
	}
	if !found {
		return nil, 0, a.lost()
	}
	if pred == nil {
		pred = odd
	}
	return pred, ahead, nil
}

func (a *campaign) lost() error {
	err := a.x.ours(nil)
	a.keeper.Lose(err)
	return err
}

// stranger returns another program's lock on the election's own node, where other
// recipes than ours would have it. What lies there without a session is nobody's
// lock.
func (a *campaign) stranger(ctx context.Context, c *conn, beside []string) (*place, error) {
	for _, name := range beside {
		if a.l.keys.own(name) {
			continue
		}
		p := place{path: a.l.keys.base + "/" + name}
		n, err := c.stat(ctx, p.path)
		if err != nil {
			return nil, err
		}
		if n != nil && n.stat.EphemeralOwner != 0 {
			return &p, nil
		}
	}
	return nil, nil
}

// see takes what a read of the queue has shown.
func (a *campaign) see(pred *place, rec record, queue []string) {
	v := &a.v
	if pred == nil || v.pred == nil || pred.path != v.pred.path {
		v.watchesPred = false
	}
	v.stale, v.pred, v.rec, v.leads = false, pred, rec, false
	for _, name := range queue {
		if rec.State == lock.Held && parsePlace("", name).owner == rec.Owner {
			v.leads = true
		}
	}
	if rec.heldByOther(a.x.owner) && !v.leads {
		a.settleAfter(rec.Owner) // also behind others, who may never win
	}
}

// again is when to look next, if no watch tells before.
func (a *campaign) again() time.Duration {
	v := &a.v
	if v.pred == nil || !v.watchesPred || v.rec.State == lock.Held && !v.leads {
		return lookSoon
	}
	return lock.Spread(lookAfter/2, lookAfter*3/2) // not all who stand by at once
}

// watchPred follows the place before ours, and looks whether it can be waited for.
func (a *campaign) watchPred(ctx context.Context, c *conn) error {
	v := &a.v
	if v.pred == nil || v.watchesPred {
		return nil
	}
	n, w, err := c.watchGone(ctx, v.pred.path)
	switch {
	case errors.Is(err, zk.ErrNoAuth):
		n, err = c.stat(ctx, v.pred.path) // it is looked for again
		if err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if n == nil {
		v.stale = true // it went in between
		return nil
	}
	if w != nil {
		v.watchesPred = true
		a.follow(w, v.pred.path)
	}
	a.warn(n)
	return nil
}

// warn tells once of what keeps us waiting and is no candidate of ours.
func (a *campaign) warn(n *node) {
	if err := a.v.pred.odd(n); err != nil && a.warned != a.v.pred.path {
		a.warned = a.v.pred.path
		a.c.Notify(lock.Notice{Kind: lock.Warning, Err: err})
	}
}

// odd returns what people should know of a node in the way, nil for nothing.
func (p place) odd(n *node) error {
	switch {
	case n.stat.EphemeralOwner == 0:
		return fmt.Errorf("zookeeper node %s has no session and blocks this election for ever: if nothing uses it, remove it in zkCli with: deleteall %s", p.path, p.path)
	case p.owner == "":
		return fmt.Errorf("zookeeper node %s is another program's lock, which this election waits for: give leaderrun a path of its own with --store or --name", p.path)
	}
	return nil
}
