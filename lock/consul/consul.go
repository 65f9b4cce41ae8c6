// Package consul elects through a Consul cluster, version 1.14 or later.
//
// It guarantees what lock.Lease says, and that the record of the latest tenure
// is written in one transaction with winning and with releasing: the winner has
// locked one key with a session, and the fencing token is greater than any modify
// index that this key had before. A session and its lock count as ours only after an answer that needs
// a majority: a renewal is followed by a consistent read of the lock key, and
// its time counts from before both. Of the up to two TTLs for which Consul keeps
// a session that is not renewed, one is counted: no more is promised.
//
// Sessions have no health checks: they end by their TTL or by hand, not because
// a gossip probe was lost. They belong to a node of leaderrun's own (see node.go):
// an agent that is stopped politely takes the sessions of its node with it.
//
// Its limits: a session that is destroyed by hand, or with its node, while its
// holder is cut off, and a cluster restored from a backup, which
// forgets indexes, are beyond what it can see. Namespaces and partitions of Consul
// Enterprise are passed on, and untested.
//
// Those who wait stand in a queue, of which a release wakes the first alone. It is
// a courtesy: nothing but the lock says who leads, and a first one that does not come
// costs seconds (see queue.go).
package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

const (
	defaultRequest = 5 * time.Second // where the settings set no bound
	leaveTime      = time.Second     // for giving a session back in passing
)

// A Store is one connection to a cluster. It implements lock.Store.
type Store struct {
	prefix string
	place  place
	dialer *dialer
	bound  time.Duration // of requests that belong to no lease
	pool   *transport.Pool[*line]

	ctx    context.Context // until Close, for what outlives a call
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	close  sync.Once
	warned sync.Once // of sessions that belong to the agent's node

	records sync.Map // key to lock.Record: the last one seen there (see decode)
}

// A place is where in a federation of clusters the elections are. What is empty
// is left to the agent.
type place struct{ datacenter, namespace, partition string }

var _ lock.Store = (*Store)(nil)

// Open returns the store of resolved settings (see Resolve). It does not
// connect: an agent that is down is found by the first request.
func Open(s lock.Settings) (lock.Store, error) { return open(s) }

func open(s lock.Settings) (*Store, error) {
	d, err := newDialer(s)
	if err != nil {
		return nil, err
	}
	bound := s.DefaultTimeout.Request
	if bound <= 0 {
		bound = defaultRequest
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Store{
		prefix: strings.TrimPrefix(s.URL.Path, "/"), place: d.place, dialer: d, bound: bound,
		pool: transport.NewPool(transport.PoolOptions[*line]{
			Store: storeName, Endpoints: d.endpoints, Bound: bound, Dial: d.open,
		}),
		ctx: ctx, cancel: cancel,
	}, nil
}

// Close ends the connections. Leases that were not released are no longer
// renewed, which their holders learn at the deadline.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.cancel()
		s.tasks.Wait() // sessions being destroyed, each within leaveTime
		s.pool.Close()
	})
	return nil
}

// Locker implements lock.Store.
func (s *Store) Locker(election string) lock.Locker {
	return &locker{store: s, election: election, keys: keys{s.prefix + "/" + election}}
}

// Release implements lock.Store. It tries until ctx is done.
func (s *Store) Release(ctx context.Context, t lock.Ticket) error {
	var named ticket
	if err := json.Unmarshal(t.Data, &named); err != nil {
		return fmt.Errorf("%w: ticket: %w", lock.ErrConfig, err)
	}
	if err := named.check(); err != nil {
		return err
	}
	k := keys{s.prefix + "/" + named.Election}
	return s.quit(ctx, k, named.Session, true, true)
}

// do makes one request, which may be sent twice (see transport.Pool), and ends with
// its line.
func (s *Store) do(ctx context.Context, f func(context.Context, *line) error) error {
	return s.pool.Do(ctx, func(ctx context.Context, l *line) error { return l.run(ctx, f) })
}

// request is do within the store's own bound.
func (s *Store) request(ctx context.Context, f func(context.Context, *line) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	return s.do(ctx, f)
}
