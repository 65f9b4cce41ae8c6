package zk

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
)

// An ownNode is the node in the queue.
type ownNode struct {
	place
	czxid int64 // the transaction that made it: the token
}

// enqueue makes the node, once: if the answer was lost the next attempt finds it.
func (x *session) enqueue(ctx context.Context) error {
	return x.do(ctx, func(ctx context.Context, c *conn) error {
		p, err := x.find(ctx, c)
		if err == nil && p == nil {
			p, err = x.create(ctx, c)
		}
		if err != nil {
			return err
		}
		n, err := c.stat(ctx, p.path)
		if err != nil {
			return err
		}
		own := &ownNode{place: *p}
		if n != nil {
			own.czxid = n.stat.Czxid
		}
		x.own.Store(own)
		if err := x.ours(n); err != nil {
			return err
		}
		x.tasks.Go(x.guard)
		return nil
	})
}

// find returns the first node of ours, nil for none.
func (x *session) find(ctx context.Context, c *conn) (*place, error) {
	if !x.created {
		return nil, nil
	}
	names, err := c.children(ctx, x.keys.queue())
	if err != nil {
		return nil, err
	}
	var first *place
	for _, name := range names {
		p := parsePlace(x.keys.queue(), name)
		if p.owner == x.owner && (first == nil || p.before(*first)) {
			first = &p
		}
	}
	return first, nil
}

func (x *session) create(ctx context.Context, c *conn) (*place, error) {
	x.created = true
	acl := x.store.acl
	path := x.keys.queue() + "/" + nodeName(x.owner)
	made, err := c.create(ctx, path, x.data, zk.FlagEphemeralSequential, acl)
	if errors.Is(err, zk.ErrNoNode) {
		if err := c.ensure(ctx, x.keys.queue(), acl); err != nil {
			return nil, err
		}
		made, err = c.create(ctx, path, x.data, zk.FlagEphemeralSequential, acl)
	}
	if errors.Is(err, zk.ErrNoNode) {
		return nil, c.fault(lock.ErrUnavailable, "somebody deletes node %s all the time", x.keys.queue())
	}
	if err != nil {
		return nil, err
	}
	p := parsePlace(x.keys.queue(), made[len(x.keys.queue())+1:])
	if p.owner != x.owner || !p.ordered {
		return nil, fmt.Errorf("%w: zookeeper named our node %s", lock.ErrConfig, made)
	}
	return &p, nil
}

// hearing is how long the own node's watch may take to be set before its connection
// is given up, for the first time; after that twice as long each time. A session that
// is ended by hand while it moves to another connection can leave that one open, on
// which a server then drops every request without a word (seen on 3.8): the loss is
// to be known before the next holder has settled. Whoever dials again is told.
const hearing = lock.SettleTime / 4

// guard follows the own node until it is gone.
func (x *session) guard() {
	pause, patience := lock.NewPause(), hearing
	for x.ctx.Err() == nil {
		var gone watched
		err := x.do(x.ctx, func(ctx context.Context, c *conn) error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			n, w, err := c.watchGone(ctx, x.own.Load().path)
			if err != nil {
				return err
			}
			gone = w
			return x.ours(n)
		})
		if errors.Is(err, lock.ErrLost) {
			select {
			case x.gone <- err:
			default: // one reason is enough, and perhaps nobody asks any more
			}
			return
		}
		if err != nil {
			patience *= 2
			pause.Wait(x.ctx)
			continue
		}
		pause, patience = lock.NewPause(), hearing
		select {
		case <-gone: // or the connection is: look again
		case <-x.ctx.Done():
		}
	}
}
