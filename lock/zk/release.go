package zk

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
)

// A tenure is what is to be given back: whose, and, if known, how it stands.
type tenure struct {
	owner string
	to    *lock.Handover // who is to lead next, if anybody
	known bool
	rec   record
	paths []string // of its node; more than one if an answer was lost
}

// giveBack ends a tenure: in one transaction its record goes from held to clean
// and its place in the queue is gone. The record of anybody else stays as it
// is. It tries until ctx is done, and may be called again. The session is left.
func (s *Store) giveBack(ctx context.Context, p *pool, k keys, t tenure) error {
	var broken error // a record that nobody can read does not keep us in the queue
	err := persist(ctx, func(ctx context.Context) error {
		return s.do(ctx, p, func(ctx context.Context, c *conn) error {
			for {
				var err error
				if !t.known {
					if t, broken, err = readTenure(ctx, c, k, t); err != nil {
						return err
					}
				}
				t.known = false // whatever comes of it
				if again, err := tryGiveBack(ctx, c, k, t, s.acl); !again {
					return err
				}
			}
		})
	})
	if err == nil {
		err = broken
	}
	return err
}

// readTenure finds out how a tenure stands.
func readTenure(ctx context.Context, c *conn, k keys, of tenure) (t tenure, broken, err error) {
	t.owner, t.to = of.owner, of.to
	if err := c.sync(ctx, k.base); err != nil {
		return t, nil, err
	}
	var names []string
	var n *node
	err = together(
		func() (err error) { names, err = c.children(ctx, k.queue()); return err },
		func() (err error) { n, err = c.get(ctx, k.record()); return err },
	)
	if err != nil {
		return t, nil, err
	}
	for _, name := range names {
		if p := parsePlace(k.queue(), name); p.owner == t.owner {
			t.paths = append(t.paths, p.path)
		}
	}
	t.rec, broken = decodeRecord(k.record(), n)
	return t, broken, nil
}

// tryGiveBack makes one attempt. It is to be made again if something has changed:
// by our own earlier attempt whose answer was lost, by a winner, or by hand.
func tryGiveBack(ctx context.Context, c *conn, k keys, t tenure, acl []zk.ACL) (again bool, err error) {
	var ops []op
	if t.rec.State == lock.Held && t.rec.Owner == t.owner {
		clean := t.rec.Record
		clean.State, clean.Handover = lock.Clean, t.to
		ops = append(ops, t.rec.write(k, clean, acl))
	}
	for _, path := range t.paths {
		ops = append(ops, remove(path))
	}
	if len(ops) == 0 {
		return false, nil
	}
	_, err = c.multi(ctx, ops...)
	again = errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrBadVersion)
	return again, err
}
