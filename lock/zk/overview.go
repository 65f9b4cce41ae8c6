package zk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
)

// Elections implements lock.Store.
func (s *Store) Elections(ctx context.Context) ([]string, error) {
	var names []string
	err := s.request(ctx, func(ctx context.Context, c *conn) error {
		names = nil
		if err := c.sync(ctx, s.prefix); err != nil {
			return err
		}
		all, err := c.children(ctx, s.prefix)
		for _, child := range all {
			name, bad := url.PathUnescape(child)
			if bad != nil || escape(name) != child {
				continue
			}
			is, err := isElection(ctx, c, newKeys(s.prefix, name))
			if err != nil {
				return err
			}
			if is {
				names = append(names, name)
			}
		}
		return err
	})
	switch {
	case errors.Is(err, zk.ErrNoAuth):
		return nil, fmt.Errorf("list elections: %w: where it may read only one, give --name", err)
	case err != nil:
		return nil, fmt.Errorf("list elections: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// isElection tells whether there is a record or somebody in the queue.
func isElection(ctx context.Context, c *conn, k keys) (bool, error) {
	below, err := c.children(ctx, k.base)
	if err != nil || slices.Contains(below, "record") || !slices.Contains(below, "queue") {
		return slices.Contains(below, "record"), err
	}
	queue, err := c.children(ctx, k.queue())
	return slices.ContainsFunc(queue, func(name string) bool { return parsePlace("", name).owner != "" }), err
}

// Queue implements lock.Locker.
func (l *locker) Queue(ctx context.Context) ([]lock.Holder, error) {
	var waiting []lock.Holder
	err := l.store.request(ctx, func(ctx context.Context, c *conn) error {
		waiting = nil
		rec, names, err := l.readQueue(ctx, c)
		if err != nil {
			return err
		}
		var places []place
		for _, name := range names {
			p := parsePlace(l.keys.queue(), name)
			if p.owner != "" && (rec.State != lock.Held || p.owner != rec.Owner) {
				places = append(places, p)
			}
		}
		slices.SortFunc(places, func(p, q place) int { return int(p.seq - q.seq) })
		for _, p := range places {
			n, err := c.get(ctx, p.path)
			if err != nil {
				return err
			}
			var h lock.Holder
			if n != nil && json.Unmarshal(n.data, &h) == nil && h.ID != "" {
				waiting = append(waiting, h)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	return waiting, nil
}
