package zk

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
)

// Inspect implements lock.Inspector.
func (l *locker) Inspect(ctx context.Context, c lock.Candidate, tell lock.Tell) lock.Outlook {
	tick, ok := l.store.inspectServers(ctx, tell)
	if !ok {
		return lock.Outlook{}
	}
	if user := l.store.dialer.settings.User; user == "" {
		tell.OK("login", "none: what everybody may do counts")
	} else {
		tell.OK("login", "user %q, with a password that ZooKeeper does not check: with a wrong one we are somebody else", user)
	}
	g, ok := l.inspectSession(ctx, c, tell)
	if !ok {
		return lock.Outlook{}
	}
	if tick == 0 {
		tick = g.Lifetime / 2 // the least time-out is two of them, unless it is configured
	}
	// The leader hears within half a tick that a follower was asked, and expires
	// sessions at whole ticks (LeaderZooKeeperServer, ExpiryQueue).
	return lock.Outlook{Grant: g, Hold: g.Lifetime + tick/2 + tick, Settle: lock.SettleTime}
}

// A trial is a node of our own, with what had to be made for it.
type trial struct {
	*locker
	x       *session
	dir     string   // where our node is
	missing []string // of its directory and those above: what was not there, the deepest first
	made    bool     // our node stands
	held    error    // why it may not be made: nobody could remove it
}

// inspectSession makes a session and a node of it, and whatever happens ends both.
func (l *locker) inspectSession(ctx context.Context, c lock.Candidate, tell lock.Tell) (lock.Grant, bool) {
	x, g, err := l.store.grant(ctx, l.keys, c.TTL)
	if err != nil {
		if ctx.Err() == nil {
			tell.Fail("lease", err)
		}
		return g, false
	}
	t := &trial{locker: l, x: x, dir: l.keys.base + "/check"}
	defer func() {
		if err := t.forget(); err != nil {
			tell.Warn("clean up", "session 0x%x ends in %v by itself; remove in zkCli what may be left: deleteall %s: %v", uint64(x.id), g.Lifetime, t.dir, err)
		}
	}()
	for _, step := range []struct {
		topic string
		try   func(context.Context) error
	}{
		{"create", t.create},
		{"read", func(ctx context.Context) error { return t.read(ctx, tell) }},
		{"renew", func(ctx context.Context) error { return t.renew(ctx, tell) }},
		{"delete", t.remove},
	} {
		err := step.try(ctx)
		switch {
		case ctx.Err() != nil:
			return g, false
		case errors.Is(err, lock.ErrUnavailable): // and so is the rest
			tell.Fail(step.topic, err)
			return g, false
		case err != nil:
			tell.Fail(step.topic, err)
		case step.topic != "renew": // has said so
			tell.OK(step.topic, "allowed")
		}
	}
	tell.Granted(g, c.TTL)
	return g, true
}

// create asks whether nodes may be made and removed where a candidate does so, and
// makes our own if nothing of it will be left.
func (t *trial) create(ctx context.Context) error {
	return t.x.do(ctx, func(ctx context.Context, c *conn) error {
		missing, err := c.missing(ctx, t.dir)
		if err != nil {
			return err
		}
		noQueue, err := c.missing(ctx, t.keys.queue())
		if err != nil {
			return err
		}
		for _, parent := range []string{above(t.keys.queue(), noQueue), above(t.dir, missing)} {
			child := parent + "/" + t.x.owner
			if parent == "/" {
				child = parent + t.x.owner
			}
			if err := c.may(ctx, create(child, nil, t.store.acl)); err != nil {
				t.held = errors.Join(t.held, c.may(ctx, remove(child)))
				return err
			}
			if err := c.may(ctx, create(child, nil, t.store.acl), remove(child)); err != nil {
				t.held = err
			}
		}
		if t.held != nil {
			return nil
		}
		t.missing = missing
		return t.make(ctx, c)
	})
}

func (t *trial) make(ctx context.Context, c *conn) error {
	if err := c.ensure(ctx, t.dir, t.store.acl); err != nil {
		return err
	}
	path, err := c.create(ctx, t.dir+"/"+t.x.owner, nil, zk.FlagEphemeral, t.store.acl)
	if err != nil && !errors.Is(err, zk.ErrNodeExists) { // an earlier answer was lost
		return err
	}
	n, err := c.stat(ctx, t.dir+"/"+t.x.owner)
	if err != nil || n == nil {
		return err
	}
	t.made = true
	t.x.own.Store(&ownNode{place: place{path: path}, czxid: n.stat.Czxid})
	return nil
}

// read reads what a campaign reads.
func (t *trial) read(ctx context.Context, tell lock.Tell) error {
	h, err := t.Holder(ctx)
	if err != nil {
		return err
	}
	tell.Led(h)
	return t.x.do(ctx, func(ctx context.Context, c *conn) error {
		if _, err := c.children(ctx, t.keys.base); err != nil || !t.made {
			return err
		}
		_, err := c.get(ctx, t.x.own.Load().path)
		return err
	})
}

// renew writes on our node, and asks whether the record may be written.
func (t *trial) renew(ctx context.Context, tell lock.Tell) error {
	err := t.x.do(ctx, func(ctx context.Context, c *conn) error {
		n, err := c.stat(ctx, t.keys.record())
		if n == nil || err != nil {
			return err
		}
		return c.may(ctx, setData(t.keys.record(), nil, -1))
	})
	if err != nil {
		return err
	}
	return tell.Renewed(ctx, t.x, t.store.bound)
}

func (t *trial) remove(ctx context.Context) error {
	if t.held != nil || !t.made {
		return t.held
	}
	return t.x.do(ctx, func(ctx context.Context, c *conn) error {
		_, err := c.multi(ctx, remove(t.x.own.Load().path))
		if errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		return err
	})
}

// forget ends the session, and with it its node, and removes what was made for
// that, unless others use it meanwhile.
func (t *trial) forget() error {
	ctx, cancel := context.WithTimeout(context.Background(), max(t.store.bound, leaveTime))
	defer cancel()
	err := t.x.close(ctx)
	for _, path := range t.missing {
		gone := persist(ctx, func(ctx context.Context) error {
			return t.store.request(ctx, func(ctx context.Context, c *conn) error {
				_, err := c.multi(ctx, remove(path))
				return err
			})
		})
		if errors.Is(gone, zk.ErrNotEmpty) {
			break
		}
		if gone != nil && !errors.Is(gone, zk.ErrNoNode) {
			err = errors.Join(err, gone)
		}
	}
	return err
}

// missing are the nodes that are not there, of the path and those above it, the
// deepest first. It needs no permission.
func (c *conn) missing(ctx context.Context, path string) ([]string, error) {
	var list []string
	for p := path; p != "/"; p = parent(p) {
		n, err := c.stat(ctx, p)
		if err != nil || n != nil {
			return list, err
		}
		list = append(list, p)
	}
	return list, nil
}

// above is the deepest node that is there.
func above(path string, missing []string) string {
	if len(missing) > 0 {
		return parent(missing[len(missing)-1])
	}
	return path
}

// may asks whether operations are allowed, in a transaction that fails at its end:
// a server looks at permissions in order.
func (c *conn) may(ctx context.Context, ops ...op) error {
	nowhere := "/" + newOwner()
	_, err := c.multi(ctx, append(ops, setData(nowhere, nil, -1))...)
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%w: zookeeper wrote on a node that is not there", lock.ErrConfig)
	}
	if f := (*failedOp)(nil); errors.As(err, &f) {
		return f.err // names the path
	}
	return err
}
