package zk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/go-zookeeper/zk"

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
	handover *lock.Handover
	left     bool // the session is being ended
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
	e.handover = &h
}

// Put implements lock.Lease.
func (e *lease) Put(ctx context.Context, key string, value []byte) error {
	if errors.Is(e.Err(), lock.ErrReleased) {
		return fmt.Errorf("put %s: %w: %w", key, lock.ErrLost, lock.ErrReleased)
	}
	err := e.x.do(ctx, func(bounded context.Context, c *conn) error {
		return e.put(ctx, bounded, c, key, value)
	})
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// put replaces what it has read before ctx was done: a transaction that arrives late
// finds what a later Put wrote, and fails. That the session has moved to another
// connection does not stop one: the owner that ZooKeeper compares (checkSession in
// SessionTrackerImpl) is the server, not the connection (ServerCnxn.me, or the
// learner's handler), and a session that never left that server, or came back, has the
// same one. A follower that is behind makes it fail, and never write.
func (e *lease) put(ctx, bounded context.Context, c *conn, key string, value []byte) error {
	own, path, acl := e.x.own.Load().path, e.l.keys.value(key), e.l.store.acl
	found, err := c.stat(bounded, path)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	write := create(path, value, acl)
	if found != nil {
		write = setData(path, value, found.stat.Version)
	}
	for {
		_, err := c.multi(bounded, check(own), write)
		switch {
		case failed(err, own) && errors.Is(err, zk.ErrNoNode):
			return e.x.ours(nil)
		case found == nil && errors.Is(err, zk.ErrNoNode):
			if err := c.ensure(bounded, e.l.keys.values(), acl); err != nil {
				return err
			}
		case errors.Is(err, zk.ErrNodeExists), errors.Is(err, zk.ErrBadVersion), errors.Is(err, zk.ErrNoNode):
			return fmt.Errorf("%w: zookeeper node %s was changed meanwhile: %w", lock.ErrUnavailable, path, err)
		default:
			return err
		}
	}
}

// Requests implements lock.Lease.
func (e *lease) Requests() <-chan lock.Request {
	e.listen.Do(func() { e.x.tasks.Go(e.follow) })
	return e.requests
}

// follow reads the request whenever it changes.
func (e *lease) follow() {
	ctx := e.x.ctx
	pause := lock.NewPause()
	var last int64 // the transaction that wrote what was delivered
	for ctx.Err() == nil {
		var n *node
		var changed watched
		err := e.x.do(ctx, func(ctx context.Context, c *conn) (err error) {
			n, changed, err = c.watch(ctx, e.l.keys.requests())
			return err
		})
		if err != nil {
			pause.Wait(ctx)
			continue
		}
		pause = lock.NewPause()
		var r lock.Request
		// What is no request, or for another tenure, is not ours to judge.
		if n != nil && n.stat.Mzxid > last && json.Unmarshal(n.data, &r) == nil && r.Token == e.rec.Token {
			last = n.stat.Mzxid
			select {
			case e.requests <- r:
			case <-ctx.Done():
			}
		}
		select {
		case <-changed: // or the connection is gone
		case <-ctx.Done():
		}
	}
}

// Release implements lock.Lease. It tries until ctx is done.
func (e *lease) Release(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.released {
		return nil
	}
	// From here on nobody may take the missing node for a loss.
	e.Stop()
	e.x.stop()
	err := e.giveBack(ctx)
	if !e.left {
		e.left = true
		// Also if that failed: the library's pings would keep a place that nobody may
		// delete for as long as this process runs.
		e.x.closeSoon()
	}
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	e.released = true
	e.l.store.last.Delete(e.l.keys.base) // whatever that is, it is over
	e.Lose(lock.ErrReleased)
	return nil
}

// giveBack does so in the session as long as that stands. After its end only the
// record does.
func (e *lease) giveBack(ctx context.Context) error {
	s := e.l.store
	if !e.left {
		t := tenure{owner: e.x.owner, to: e.handover, known: true, rec: e.rec, paths: []string{e.x.own.Load().path}}
		if err := s.giveBack(ctx, e.x.pool, e.l.keys, t); !errors.Is(err, lock.ErrLost) {
			return err
		}
	}
	return s.giveBack(ctx, s.common, e.l.keys, tenure{owner: e.x.owner, to: e.handover})
}
