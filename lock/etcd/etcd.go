// Package etcd elects through an etcd cluster, version 3.4 or later.
//
// It guarantees what lock.Lease says, and that the record of the latest tenure
// is written in one transaction with winning and with releasing: the winner
// holds the first place of a queue ordered by create revision, and the fencing
// token is that revision. A lease and its lock key count as ours only after an
// answer that needs a majority: a renewal asks for the lease by a keep-alive and
// for the key by a linearizable read, and its time counts from before both.
//
// Its limits: a lease that is revoked by hand while its holder is cut off, and a
// cluster restored from a backup, which forgets revisions, are beyond what it
// can see. Servers before 3.5.13 and 3.4.31 may let a leader that was deposed
// renew a lease that the new one expires (etcd #15247); it warns of them. Watches
// only make it fast: whatever they tell is also found without them, by the next
// renewal or a read every few seconds.
package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
	"leaderrun/lock/transport"
)

const (
	defaultRequest = 5 * time.Second // where the settings set no bound
	leaveTime      = time.Second     // for leaving a queue, or giving a lease back in passing
)

// A Store is one connection to a cluster. It implements lock.Store.
type Store struct {
	prefix string
	bound  time.Duration // of requests that belong to no lease
	dialer dialer
	pool   *transport.Pool[*conn]

	ctx    context.Context // until Close, for what outlives a call
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	close  sync.Once
	warned sync.Once // of an old server

	records sync.Map // key to lock.Record: the last one seen there (see recall)
}

var _ lock.Store = (*Store)(nil)

// Open returns the store of resolved settings (see Resolve). It does not
// connect: an etcd that is down is found by the first request.
func Open(s lock.Settings) (lock.Store, error) { return open(s) }

func open(s lock.Settings) (*Store, error) {
	if len(s.URL.Hosts) == 0 || s.URL.Path == "" {
		return nil, fmt.Errorf("%w: --store: neither host nor prefix", lock.ErrConfig)
	}
	d := newDialer(s)
	if err := d.check(); err != nil {
		return nil, err
	}
	bound := s.DefaultTimeout.Request
	if bound <= 0 {
		bound = defaultRequest
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Store{
		prefix: s.URL.Path, bound: bound, dialer: d, ctx: ctx, cancel: cancel,
		pool: transport.NewPool(transport.PoolOptions[*conn]{
			Store: storeName, Endpoints: s.URL.Hosts, Bound: bound, Dial: d.dial, Final: final,
		}),
	}, nil
}

// Close ends the connection. Leases that were not released are no longer
// renewed, which their holders learn at the deadline.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.cancel()
		s.tasks.Wait() // leases being given back, each within leaveTime
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
	id, err := named.leaseID()
	if err != nil {
		return err
	}
	k := keys{s.prefix + "/" + named.Election}
	if err := s.giveBack(ctx, k, id, record{}); err != nil {
		return err
	}
	return lock.Persist(ctx, func(ctx context.Context) error { return s.revoke(ctx, id) })
}

// request makes one request within the store's own bound. It may be sent twice
// (see transport.Pool).
func (s *Store) request(ctx context.Context, f func(context.Context, *conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	return s.pool.Do(ctx, f)
}

// txn runs one transaction.
func (s *Store) txn(ctx context.Context, cmp []*pb.Compare, then, other []*pb.RequestOp) (*pb.TxnResponse, error) {
	var resp *pb.TxnResponse
	err := s.request(ctx, func(ctx context.Context, c *conn) (err error) {
		resp, err = c.txn(ctx, cmp, then, other)
		return err
	})
	return resp, err
}

// read returns a key as of now, nil if there is none, and the revision of now.
func (s *Store) read(ctx context.Context, key string) (*pb.KeyValue, int64, error) {
	var resp *pb.RangeResponse
	err := s.request(ctx, func(ctx context.Context, c *conn) (err error) {
		resp, err = call(ctx, c.read, &pb.RangeRequest{Key: []byte(key)})
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return only(resp.Kvs), resp.Header.Revision, nil
}

func only(kvs []*pb.KeyValue) *pb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	return kvs[0]
}

// rangeOf is the n-th answer of a transaction, which was a get.
func rangeOf(resp *pb.TxnResponse, n int) []*pb.KeyValue {
	return resp.Responses[n].GetResponseRange().GetKvs()
}

// revoke ends a lease, which removes its keys. One that is gone is fine.
func (s *Store) revoke(ctx context.Context, id leaseID) error {
	err := s.request(ctx, func(ctx context.Context, c *conn) error {
		_, err := call(ctx, c.revoke, &pb.LeaseRevokeRequest{ID: int64(id)})
		return err
	})
	if errors.Is(err, errLeaseNotFound) {
		return nil
	}
	return err
}

// revokeSoon ends a lease that no longer matters to anybody: it holds nothing,
// and would end by itself.
func (s *Store) revokeSoon(id leaseID) {
	s.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
		defer cancel()
		_ = lock.Persist(ctx, func(ctx context.Context) error { return s.revoke(ctx, id) })
	})
}
