package zk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
)

// Holder implements lock.Locker. A record that says held counts only as long as
// its owner stands in the queue.
func (l *locker) Holder(ctx context.Context) (lock.Holder, error) {
	var rec record
	var names []string
	err := l.store.request(ctx, func(ctx context.Context, c *conn) (err error) {
		rec, names, err = l.readQueue(ctx, c)
		return err
	})
	if err != nil {
		return lock.Holder{}, fmt.Errorf("read holder: %w", err)
	}
	for _, name := range names {
		if rec.State == lock.Held && parsePlace("", name).owner == rec.Owner {
			h := rec.Holder
			h.Token, h.TTL = rec.Token, rec.TTL
			return h, nil
		}
	}
	return lock.Holder{}, nil
}

// readQueue reads the record, and then who stands in the queue, both as of now.
func (l *locker) readQueue(ctx context.Context, c *conn) (rec record, names []string, err error) {
	if err := c.sync(ctx, l.keys.base); err != nil {
		return rec, nil, err
	}
	n, err := c.get(ctx, l.keys.record())
	if err != nil {
		return rec, nil, err
	}
	if rec, err = decodeRecord(l.keys.record(), n); err != nil {
		return rec, nil, err
	}
	names, err = c.children(ctx, l.keys.queue())
	return rec, names, err
}

// Get implements lock.Records.
func (l *locker) Get(ctx context.Context, key string) ([]byte, error) {
	var n *node
	path := l.keys.value(key)
	err := l.store.request(ctx, func(ctx context.Context, c *conn) (err error) {
		if err := c.sync(ctx, path); err != nil {
			return err
		}
		n, err = c.get(ctx, path)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("get %s: %w", key, err)
	case n == nil:
		return nil, nil
	case n.data == nil:
		return []byte{}, nil // there is one, and it is empty
	}
	return n.data, nil
}

// Ask implements lock.Records.
func (l *locker) Ask(ctx context.Context, r lock.Request) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	err = l.store.request(ctx, func(ctx context.Context, c *conn) error { return l.ask(ctx, c, value) })
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	return nil
}

func (l *locker) ask(ctx context.Context, c *conn, value []byte) error {
	path := l.keys.requests()
	for {
		_, err := c.set(ctx, path, value, -1)
		if !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		if err := c.ensure(ctx, l.keys.base, l.store.acl); err != nil {
			return err
		}
		_, err = c.create(ctx, path, value, zk.FlagPersistent, l.store.acl)
		if !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
}
