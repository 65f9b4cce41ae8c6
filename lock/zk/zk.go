// Package zk elects through a ZooKeeper ensemble, version 3.5 or later.
//
// It guarantees what lock.Lease says, and that the record of the latest tenure
// is written in one transaction with winning and with releasing: the winner
// holds the first place of a queue of ephemeral sequential nodes, and the
// fencing token is the transaction that made its node (czxid). The lease is a
// ZooKeeper session of the campaign's own. A renewal is a write on the own node,
// answered by a majority; what such an answer says of the session's time is told
// by lock.Keeper, for the leader counts that time and a follower answers.
//
// Its limits: a node that is deleted or a session that is ended by hand while its
// holder is cut off, and an ensemble restored from a backup, which forgets its
// transactions, are beyond what it can see. So is what lies between us and the
// leader besides a follower: observers behind an ObserverMaster. The servers must
// not be configured with a minSessionTimeout below two ticks, and their range of
// session time-outs must be the same on all. ZooKeeper cannot tell a session that
// ran out from one that was ended, so that whoever comes after a holder that died
// settles each time. Another recipe's lock on the same path is waited for if it
// is there first; nothing keeps it from coming later. Watches only make it fast:
// whatever they tell is also found without them, by the next renewal or a read
// every few seconds.
package zk

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

const (
	storeName      = "zookeeper"
	defaultRequest = 5 * time.Second  // where the settings set no bound
	leaveTime      = time.Second      // for leaving a queue, or ending a session in passing
	commonTimeout  = 10 * time.Second // of the session that holds nothing
)

type pool = transport.Pool[*conn]

// A Store is one way to reach an ensemble. It implements lock.Store.
type Store struct {
	prefix string
	bound  time.Duration // of requests that belong to no lease
	hosts  []string
	dialer dialer
	acl    []zk.ACL // of the nodes that we make
	common *pool    // for what belongs to no lease
	first  string   // the address that is dialled first, if set
	last   sync.Map // election's node to the lock.Record that was seen there last

	ctx    context.Context // until Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	close  sync.Once
}

var _ lock.Store = (*Store)(nil)

// Open returns the store of resolved settings (see Resolve). It does not
// connect: a ZooKeeper that is down is found by the first request.
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
	st := &Store{prefix: s.URL.Path, bound: bound, hosts: s.URL.Hosts, dialer: d, acl: zk.WorldACL(zk.PermAll)}
	if s.User != "" {
		st.acl = zk.AuthACL(zk.PermAll)
	}
	st.ctx, st.cancel = context.WithCancel(context.Background())
	st.common = st.newPool(st.dialCommon, nil)
	return st, nil
}

func (s *Store) newPool(dial func(context.Context, string, func()) (*conn, error), final func(error) bool) *pool {
	p := transport.NewPool(transport.PoolOptions[*conn]{
		Store: storeName, Endpoints: s.hosts, Bound: s.bound, Dial: dial, Final: final,
	})
	p.Begin(s.first)
	return p
}

// dialCommon makes a session anew for each connection: nothing hangs on it.
func (s *Store) dialCommon(ctx context.Context, endpoint string, reached func()) (*conn, error) {
	return s.dialer.dial(ctx, endpoint, reached, hello{seen: new(atomic.Int64), timeout: commonTimeout})
}

// Close ends the connections. Leases that were not released are no longer
// renewed, which their holders learn at the deadline.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.cancel()
		s.tasks.Wait() // sessions being ended, each within leaveTime
		s.common.Close()
	})
	return nil
}

// Locker implements lock.Store.
func (s *Store) Locker(election string) lock.Locker {
	return &locker{store: s, election: election, keys: newKeys(s.prefix, election)}
}

// Release implements lock.Store. It tries until ctx is done.
func (s *Store) Release(ctx context.Context, t lock.Ticket) error {
	var named ticket
	if err := json.Unmarshal(t.Data, &named); err != nil {
		return fmt.Errorf("%w: ticket: %w", lock.ErrConfig, err)
	}
	if !isOwner(named.Node) {
		return fmt.Errorf("%w: ticket: %q names no node", lock.ErrConfig, named.Node)
	}
	return s.giveBack(ctx, s.common, newKeys(s.prefix, named.Election), tenure{owner: named.Node})
}

// request makes one request that belongs to no lease, within the store's own
// bound. It may be sent twice (see transport.Pool).
func (s *Store) request(ctx context.Context, f func(context.Context, *conn) error) error {
	return s.do(ctx, s.common, f)
}

func (s *Store) do(ctx context.Context, p *pool, f func(context.Context, *conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	return p.Do(ctx, f)
}
