package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
)

// Elections implements lock.Store.
func (s *Store) Elections(ctx context.Context) ([]string, error) {
	below := s.prefix + "/"
	// Consul leaves keys that a token may not read out of a list, without a word.
	_, err := s.read(ctx, below)
	if forbidden(err) {
		return nil, fmt.Errorf("list elections: %w: where it may read only one, give --name", err)
	}
	var keys []string
	if err == nil {
		err = s.request(ctx, func(ctx context.Context, l *line) (err error) {
			keys, _, err = l.client.KV().Keys(below, "", l.query(ctx))
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("list elections: %w", err)
	}
	return lock.ElectionsIn(s.prefix, keys, sessionID().MatchString), nil
}

// Queue implements lock.Locker. A candidate that may have no place (see enqueue) is not
// in it.
func (l *locker) Queue(ctx context.Context) ([]lock.Holder, error) {
	k := l.keys
	pairs, err := l.store.readAbove(ctx, k.queue(), k.lock())
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	leader, queue := pairs[0].Session, pairs[1:]
	slices.SortFunc(queue, func(p, q *api.KVPair) int { return cmp.Compare(p.CreateIndex, q.CreateIndex) })
	var waiting []lock.Holder
	for _, p := range queue {
		var h lock.Holder
		lives := p.Session != "" && p.Key == k.place(p.Session)
		if lives && p.Session != leader && json.Unmarshal(p.Value, &h) == nil && h.ID != "" {
			waiting = append(waiting, h)
		}
	}
	return waiting, nil
}
