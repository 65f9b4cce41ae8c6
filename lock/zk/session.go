package zk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// A session is one session of ZooKeeper, with connections of its own, and its
// node once that stands in the queue.
type session struct {
	store *Store
	keys  keys
	pool  *pool
	owner string // random part of the node's name
	data  []byte // of the node
	gone  chan error

	granted  atomic.Pointer[welcome] // nil until the first connection, which makes the session
	id       int64                   // of the session
	lifetime time.Duration           // as granted
	zxid     atomic.Int64            // the newest transaction seen
	created  bool                    // a node of this owner may be there
	own      atomic.Pointer[ownNode]

	ctx    context.Context // of what follows the node
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	life   context.Context // of the connections, also after the store's Close if
	end    context.CancelFunc
	ending atomic.Bool // the session is being ended
}

var _ lock.Session = (*session)(nil)

// grant makes a session. ZooKeeper bounds its time-out; what it says it granted is
// what counts.
func (s *Store) grant(ctx context.Context, k keys, ttl time.Duration) (*session, lock.Grant, error) {
	x := &session{store: s, keys: k, owner: newOwner(), gone: make(chan error, 1)}
	x.pool = s.newPool(func(ctx context.Context, endpoint string, reached func()) (*conn, error) {
		return x.dial(ctx, endpoint, reached, ttl)
	}, func(err error) bool { return errors.Is(err, lock.ErrLost) })
	x.ctx, x.cancel = context.WithCancel(s.ctx)
	x.life, x.end = context.WithCancel(context.Background())
	s.tasks.Go(func() {
		select {
		case <-x.life.Done():
		case <-s.ctx.Done():
			if x.ending.Load() {
				<-x.life.Done()
			}
		}
		x.pool.Close()
	})
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	c, err := x.pool.Get(ctx)
	if err != nil {
		x.end()
		return nil, lock.Grant{}, err
	}
	w := c.welcome
	x.id, x.lifetime = w.session, w.timeout
	x.granted.Store(&w)
	c.fresh.Store(false)
	return x, lock.Grant{Sent: w.sent, Lifetime: w.timeout, Relayed: true}, nil
}

// dial makes the session, or takes it along to another connection. Nobody dials
// before the first connection is adopted.
func (x *session) dial(ctx context.Context, endpoint string, reached func(), ttl time.Duration) (*conn, error) {
	h := hello{seen: &x.zxid, timeout: ttl}
	first := x.granted.Load()
	if first != nil {
		h.timeout, h.session, h.secret = first.timeout, first.session, first.secret
	}
	c, err := x.store.dialer.dial(ctx, endpoint, reached, h)
	switch {
	case errors.Is(err, errExpired):
		return nil, errEnded(h.session)
	case err != nil || first == nil:
		return c, err
	}
	if granted := c.welcome.timeout; granted < first.timeout {
		// That cuts short what is left of the time that answers have proven.
		c.Close(true)
		return nil, transport.NewFault(lock.ErrLost, storeName, endpoint,
			"it grants this session no more than %v where another server granted %v: set the same tickTime and maxSessionTimeout on all", granted, first.timeout)
	}
	return c, nil
}

func (x *session) do(ctx context.Context, f func(context.Context, *conn) error) error {
	return x.store.do(ctx, x.pool, f)
}

// Renew implements lock.Session: a write on the own node. Before that stands,
// it is a transaction that changes nothing.
func (x *session) Renew(ctx context.Context) (time.Duration, error) {
	err := x.pool.Do(ctx, func(ctx context.Context, c *conn) error {
		own := x.own.Load()
		if own == nil {
			_, err := c.multi(ctx, check(x.keys.base))
			if isAnswer(err) {
				return nil // a refused transaction is one, too
			}
			return err
		}
		n, err := c.set(ctx, own.path, x.data, -1)
		if errors.Is(err, zk.ErrNoNode) {
			n, err = nil, nil
		}
		if err != nil {
			return err
		}
		return x.ours(n)
	})
	if err != nil {
		return 0, err
	}
	return x.lifetime, nil
}

// Gone implements lock.Session.
func (x *session) Gone() <-chan error { return x.gone }

// ours returns nil if that is the node as we made it.
func (x *session) ours(n *node) error {
	own := x.own.Load()
	switch {
	case n == nil:
		return fmt.Errorf("%w: zookeeper node %s is gone: somebody deleted it, or its session ended", lock.ErrLost, own.path)
	case n.stat.Czxid != own.czxid || n.stat.EphemeralOwner != x.id:
		return fmt.Errorf("%w: zookeeper node %s was made anew by somebody else", lock.ErrLost, own.path)
	}
	return nil
}

// stop ends what follows the node.
func (x *session) stop() {
	x.cancel()
	x.tasks.Wait()
}

// close ends the session, and with it its node. It tries until ctx is done.
func (x *session) close(ctx context.Context) error {
	x.ending.Store(true)
	defer x.end()
	x.stop()
	return persist(ctx, func(ctx context.Context) error {
		err := x.do(ctx, func(ctx context.Context, c *conn) error { return c.endSession(ctx) })
		if errors.Is(err, lock.ErrLost) {
			return nil
		}
		return err
	})
}

// closeSoon ends a session that no longer matters to anybody: it holds nothing,
// and would end by itself.
func (x *session) closeSoon() {
	x.ending.Store(true)
	x.store.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
		defer cancel()
		_ = x.close(ctx)
	})
}
