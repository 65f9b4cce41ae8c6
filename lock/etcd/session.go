package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// A session is one lease and, once it stands in the queue, its lock key.
type session struct {
	store  *Store
	id     leaseID
	key    string
	create atomic.Int64 // create revision of the key: the token; 0 before
	gone   chan error

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

var _ lock.Session = (*session)(nil)

// grant makes a lease. etcd counts in whole seconds and has a least TTL of its
// own; what it says it granted is what counts.
func (s *Store) grant(ctx context.Context, k keys, ttl time.Duration) (*session, lock.Grant, error) {
	var g lock.Grant
	var resp *pb.LeaseGrantResponse
	seconds := int64((ttl + time.Second - 1) / time.Second)
	err := s.request(ctx, func(ctx context.Context, c *conn) (err error) {
		g.Sent = bootclock.Now()
		resp, err = call(ctx, c.grant, &pb.LeaseGrantRequest{TTL: seconds})
		return err
	})
	if err != nil {
		return nil, g, err
	}
	g.Lifetime = time.Duration(resp.TTL) * time.Second
	id := leaseID(resp.ID)
	x := &session{store: s, id: id, key: k.place(id), gone: make(chan error, 1)}
	x.ctx, x.cancel = context.WithCancel(s.ctx)
	return x, g, nil
}

// Renew implements lock.Session: lease and lock are asked for at once, on the
// same connection.
func (x *session) Renew(ctx context.Context) (time.Duration, error) {
	var lifetime time.Duration
	err := x.store.pool.Do(ctx, func(ctx context.Context, c *conn) error {
		var lease error
		var both sync.WaitGroup
		both.Go(func() { lifetime, lease = keepAlive(ctx, c, x.id) })
		key := x.check(ctx, c)
		both.Wait()
		if errors.Is(key, lock.ErrLost) || lease == nil {
			return key
		}
		return lease
	})
	if err != nil {
		return 0, err
	}
	return lifetime, nil
}

// Gone implements lock.Session.
func (x *session) Gone() <-chan error { return x.gone }

// keepAlive renews once. clientv3's KeepAliveOnce would ask again without a
// pause for as long as the server is unavailable.
func keepAlive(ctx context.Context, c *conn, id leaseID) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := c.keepAlive.CallBidiStream(ctx)
	endWith(ctx, stream)
	// An error of Send is only io.EOF; Receive has the reason.
	_ = stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)})
	resp, err := stream.Receive()
	switch {
	case err != nil && errors.Is(answerOf(err), errLeaseNotFound), err == nil && resp.TTL <= 0:
		return 0, fmt.Errorf("%w: etcd lease %s expired or was revoked", lock.ErrLost, leaseName(id))
	case err != nil:
		return 0, err
	}
	return time.Duration(resp.TTL) * time.Second, nil
}

// check reads the lock key: a lease that lives says nothing of a key that
// somebody deleted.
func (x *session) check(ctx context.Context, c *conn) error {
	if x.create.Load() == 0 {
		return nil
	}
	resp, err := call(ctx, c.read, &pb.RangeRequest{Key: []byte(x.key)})
	if err != nil {
		return err
	}
	return x.ours(only(resp.Kvs))
}

// ours returns nil if that is the key as we put it.
func (x *session) ours(kv *pb.KeyValue) error {
	switch {
	case kv == nil:
		return fmt.Errorf("%w: etcd key %s is gone: its lease ended or somebody deleted it", lock.ErrLost, x.key)
	case kv.Lease != int64(x.id) || kv.CreateRevision != x.create.Load():
		return fmt.Errorf("%w: etcd key %s was made anew by somebody else", lock.ErrLost, x.key)
	}
	return nil
}

// queued notes that the key stands, and watches it from there on.
func (x *session) queued(create int64) {
	x.create.Store(create)
	x.tasks.Go(func() {
		x.store.follow(x.ctx, watch{key: x.key, after: create, see: func(kv *pb.KeyValue, _ int64) bool {
			err := x.ours(kv)
			if err != nil {
				select {
				case x.gone <- err:
				default: // one reason is enough, and perhaps nobody asks any more
				}
			}
			return err == nil
		}})
	})
}

// stop ends what belongs to the session in this process.
func (x *session) stop() {
	x.cancel()
	x.tasks.Wait()
}
