package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// The queue says whose turn it is after a release, so that one candidate goes for
// the lock and not all. It decides nothing: whoever locks the lock key leads, in turn
// or not, and so does whoever knows of no queue.
//
// Whoever has to wait locks a key of its own there, and watches only the one before it;
// the first watches the lock key. The transaction that locks that takes the place away,
// which wakes the next. A place whose session has ended is passed over, and removed
// by whoever comes across it with a write of its own.

const (
	// turn is what the first in the queue may need to lock a free key. One who is
	// frozen or cut off keeps its place for as long as it keeps its session: when the
	// key stays free for that long, whoever sees it goes out of turn.
	turn = 500 * time.Millisecond
	// sweep bounds how many dead places one transaction removes: Consul takes 64
	// operations, newer versions 128.
	sweep = 50
)

// mustQueue tells whether a place is due. Whoever finds the lock free, and nobody
// waiting, needs none.
func (a *campaign) mustQueue() bool {
	return !a.placed && !a.alone && a.key.session != a.x.id && (a.key.session != "" || a.pred != nil)
}

// enqueue takes a place, and finds the one before it in the same transaction.
func (a *campaign) enqueue(ctx context.Context) error {
	s, k := a.l.store, a.l.keys
	place := s.opLock(api.KVLock, k.place(a.x.id), a.x.id)
	place.Value = a.holder()
	a.x.queued = true
	pairs, err := s.txn(ctx, append(a.sweep(), place, s.op(api.KVGetTree, k.queue()))...)
	var why conflict
	switch {
	case errors.As(err, &why):
		a.lookSoon()
		a.unsorted = true // somebody did something by hand
		return a.noSession(ctx, why)
	case forbidden(err):
		a.alone, a.pred = true, nil
		a.c.Notify(lock.Notice{Kind: lock.Warning, Err: fmt.Errorf("waits without a place in the queue: %w", err)})
		return nil
	case err != nil:
		return fmt.Errorf("enter the queue: %w", err)
	}
	a.arrange(pairs)
	return nil
}

// arrange finds the place before ours, which is the last one if we have none.
func (a *campaign) arrange(queue api.KVPairs) {
	k := a.l.keys
	a.unsorted, a.placed, a.pred, a.dead = false, false, nil, nil
	before := ^uint64(0)
	for _, p := range queue {
		if p.Session == a.x.id && p.Key == k.place(a.x.id) {
			a.placed, before = true, p.CreateIndex
		}
	}
	for _, p := range queue {
		switch {
		case p.Session == "" && p.Flags == lockFlags && sessionID().MatchString(strings.TrimPrefix(p.Key, k.queue())):
			a.dead = append(a.dead, p)
		case p.Session != "" && p.CreateIndex < before && p.Key == k.place(p.Session) && (a.pred == nil || p.CreateIndex > a.pred.CreateIndex):
			a.pred = p
		}
	}
}

// sweep removes dead places, each unless somebody has changed it. Without a place of
// our own we may not be allowed to.
func (a *campaign) sweep() (ops []*api.KVTxnOp) {
	for _, p := range a.dead[:min(len(a.dead), sweep)] {
		op := a.l.store.op(api.KVDeleteCAS, p.Key)
		op.Index = p.ModifyIndex
		ops = append(ops, op)
	}
	a.dead = nil
	return ops
}

// waitTurn says when to look again while somebody is before us.
func (a *campaign) waitTurn(key lockKey) {
	now := bootclock.Now()
	if key.session != "" {
		a.overdue, a.lookAt, a.retry = 0, now.Add(lock.Spread(lookAfter/2, lookAfter)), retryFirst
		return
	}
	if a.overdue == 0 || key != a.idle {
		a.idle, a.overdue = key, now.Add(lock.Spread(turn, 2*turn))
		a.unsorted = true // whoever is before us may be gone, and no watch tell of it
	}
	a.lookAt = a.overdue
}

// ourTurn tells whether to lock the key if it is free.
func (a *campaign) ourTurn() bool {
	return a.pred == nil || a.overdue != 0 && bootclock.Now() >= a.overdue
}

// forbidden tells of a rule that the token's policy lacks.
func forbidden(err error) bool { return errors.Is(err, lock.ErrDenied) && !mayPass(err) }
