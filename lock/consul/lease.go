package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
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
// Consul takes up to about 380 KiB, which become 512 in a transaction.
func (e *lease) Put(ctx context.Context, key string, value []byte) error {
	s, k := e.l.store, e.l.keys.value(key)
	err := s.request(ctx, func(bounded context.Context, l *line) error {
		found, err := s.readOn(bounded, l, "", k)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		put := s.opCAS(k, found[0].ModifyIndex, value)
		// The same value once more would keep its index, for Consul skips a write that
		// changes nothing (kvsSetTxn in agent/consul/state/kvs.go).
		put.Flags = found[0].Flags + 1
		_, _, err = l.txn(bounded, s.opLock(api.KVCheckSession, e.l.keys.lock(), e.x.id), put)
		return err
	})
	var why conflict
	switch {
	case errors.As(err, &why) && why.at(0):
		return fmt.Errorf("put %s: %w: %w", key, lock.ErrLost, why)
	case errors.As(err, &why):
		return fmt.Errorf("put %s: %w: consul key %s was changed meanwhile: %w", key, lock.ErrUnavailable, k, why)
	case err != nil:
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// Requests implements lock.Lease. Whoever asks this tenure has its token from
// the record, so that watching from there on misses nothing.
func (e *lease) Requests() <-chan lock.Request {
	e.listen.Do(func() {
		e.x.tasks.Go(func() {
			seen := e.rec.index
			e.l.store.follow(e.x.ctx, e.l.keys.requests(), seen, func(p *api.KVPair, _ uint64) bool {
				if p == nil || p.ModifyIndex <= seen {
					return true
				}
				seen = p.ModifyIndex
				return e.request(p.Value)
			})
		})
	})
	return e.requests
}

func (e *lease) request(value []byte) bool {
	var r lock.Request
	// What is no request, or for another tenure, is not ours to judge.
	if json.Unmarshal(value, &r) != nil || r.Token != e.rec.Token {
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
	// From here on nobody may take the free key for a loss.
	e.Stop()
	e.x.stop()
	if err := e.l.store.giveBack(ctx, e.l.keys, e.x.id, e.rec); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	e.released = true
	e.l.store.records.Delete(e.l.keys.record()) // whatever stands there, it is over
	e.Lose(lock.ErrReleased)
	// Only now: the end of a session that holds a key delays the next one.
	e.l.store.destroySoon(e.x.id)
	return nil
}
