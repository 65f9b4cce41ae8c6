package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// A lease is an election won. It implements lock.Lease.
type lease struct {
	*lock.Keeper
	l   *locker
	x   *session
	rec record // as we wrote it

	previous lock.Record

	listen   sync.Once
	requests chan lock.Request

	mu       sync.Mutex
	released bool
}

var _ lock.Lease = (*lease)(nil)

func newLease(l *locker, x *session, k *lock.Keeper, rec record, previous lock.Record) *lease {
	return &lease{Keeper: k, l: l, x: x, rec: rec, previous: previous, requests: make(chan lock.Request, 1)}
}

// Token implements lock.Lease.
func (e *lease) Token() lock.Token { return e.rec.Token }

// Previous implements lock.Lease.
func (e *lease) Previous() lock.Record { return e.previous }

// HandOver implements lock.Lease.
func (e *lease) HandOver(h lock.Handover) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rec.Handover = &h // of the clean record, which is made of this one
}

// Put implements lock.Lease. What it replaces is what it has read before ctx was
// done: a transaction that arrives late finds what a later Put wrote, and fails.
func (e *lease) Put(ctx context.Context, key string, value []byte) error {
	k := e.l.keys.value(key)
	var resp *pb.TxnResponse
	err := e.l.store.request(ctx, func(bounded context.Context, c *conn) error {
		found, err := call(bounded, c.read, &pb.RangeRequest{Key: []byte(k)})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		resp, err = c.txn(bounded, []*pb.Compare{
			created(e.x.key, e.x.create.Load()),
			leased(e.x.key, e.x.id),
			modified(k, only(found.Kvs).GetModRevision()),
		}, []*pb.RequestOp{put(k, value, noLease)}, []*pb.RequestOp{get(e.x.key)})
		return err
	})
	if err == nil && !resp.Succeeded {
		if err = e.x.ours(only(rangeOf(resp, 0))); err == nil {
			err = fmt.Errorf("%w: etcd key %s was changed meanwhile", lock.ErrUnavailable, k)
		}
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// Requests implements lock.Lease. Whoever asks this tenure has its token from
// the record, so that watching from there on misses nothing.
func (e *lease) Requests() <-chan lock.Request {
	e.listen.Do(func() {
		e.x.tasks.Go(func() {
			e.l.store.follow(e.x.ctx, watch{key: e.l.keys.requests(), after: e.rec.rev, see: e.request})
		})
	})
	return e.requests
}

func (e *lease) request(kv *pb.KeyValue, _ int64) bool {
	var r lock.Request
	// What is no request, or for another tenure, is not ours to judge.
	if kv == nil || json.Unmarshal(kv.Value, &r) != nil || r.Token != e.rec.Token {
		return true
	}
	select {
	case e.requests <- r:
		return true
	case <-e.x.ctx.Done():
		return false
	}
}

// Release implements lock.Lease. It tries until ctx is done.
func (e *lease) Release(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.released {
		return nil
	}
	// From here on nobody may take the missing key for a loss.
	e.Stop()
	e.x.stop()
	if err := e.l.store.giveBack(ctx, e.l.keys, e.x.id, e.rec); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	e.released = true
	e.l.store.records.Delete(e.l.keys.record()) // whatever stands there, it is over
	e.Lose(lock.ErrReleased)
	e.l.store.revokeSoon(e.x.id)
	return nil
}
