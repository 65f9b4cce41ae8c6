package consul

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
)

// A blocking query answers after blockFor, with or without news. Consul adds up to
// a sixteenth, so that not all ask again at once; without a wait time it would be
// five minutes, and api sets no time-out at all.
const blockFor = 10 * time.Second

// follow tells of every state of one key that comes after the index, and of the
// one it finds when a query ends without news, until `see` returns false or ctx is
// done. States in between may be left out.
//
// It is a fast path only: what it tells may come from a leader that was deposed
// and does not know it yet. A query ends with its line, which a renewal that is
// not answered ends.
func (s *Store) follow(ctx context.Context, key string, after uint64, see func(p *api.KVPair, index uint64) bool) {
	pause := lock.NewPause()
	lost := lock.NewLatePause() // a server that ends a connection ends everybody's
	for ctx.Err() == nil {
		p, index, err := s.block(ctx, key, after)
		if err != nil {
			lost.Wait(ctx)
			continue
		}
		if index < after {
			// Consul says so itself: the index went back, begin anew.
			after = 0
			pause.Wait(ctx)
			continue
		}
		news := index != after
		after = max(index, 1)
		if !see(p, index) {
			return
		}
		if news {
			pause = lock.NewPause()
		}
	}
}

// block makes one blocking query. Its index is that of the key or, if there is no
// such key, of the latest change to anything.
func (s *Store) block(ctx context.Context, key string, after uint64) (*api.KVPair, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, blockFor+blockFor/16+s.bound)
	defer cancel()
	l, err := s.pool.Await(ctx)
	if err != nil {
		return nil, 0, err
	}
	var pair *api.KVPair
	var index uint64
	err = l.run(ctx, func(ctx context.Context, l *line) error {
		q := (&api.QueryOptions{WaitIndex: after, WaitTime: blockFor}).WithContext(ctx)
		p, meta, err := l.client.KV().Get(key, q)
		if err != nil {
			return err
		}
		pair, index = p, meta.LastIndex
		return nil
	})
	// The line stays: renewals may do well on it, on a connection that is open, while
	// the agent takes no more (http_max_conns_per_client). They judge it soon enough.
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.pool.Drop(l, true)
	}
	return pair, index, err
}
