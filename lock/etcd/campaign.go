package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// lookAfter is how often a candidate in the queue reads what its watches should
// have told; settleLook the same while it settles, settleSoon for the first time.
const (
	lookAfter  = 3 * time.Second
	settleLook = 250 * time.Millisecond
	settleSoon = 20 * time.Millisecond
)

// A campaign is one stay in the queue. One goroutine owns it; watches send it
// events.
type campaign struct {
	l      *locker
	c      lock.Candidate
	x      *session
	keeper *lock.Keeper
	ttl    time.Duration // as granted

	v         view
	enqueued  bool        // the ticket is out
	tried     bool        // a winning transaction was sent
	held      lock.Record // what it writes
	replaced  lock.Record // what it writes that over
	settle    settling
	announcer *lock.Announcer
	lookAt    bootclock.Instant
	pause     *lock.Pause // between requests that fail
	warned    string      // key of the stranger that was warned of

	events chan event
	tasks  sync.WaitGroup // until the context of run is done
}

// An event is a change of the record or the end of the predecessor's place.
type event struct {
	key string
	kv  *pb.KeyValue // nil: gone
	rev int64
	at  bootclock.Instant

	behind bool // nothing of that: something may have happened, look
}

func newCampaign(l *locker, c lock.Candidate, x *session, k *lock.Keeper, ttl time.Duration) *campaign {
	return &campaign{
		l: l, c: c, x: x, keeper: k, ttl: ttl,
		announcer: lock.NewAnnouncer(c.Notify), pause: lock.NewPause(), events: make(chan event),
	}
}

// wait returns once we have won.
func (a *campaign) wait(ctx context.Context) (*lease, error) {
	defer func() {
		if a.v.unwatch != nil {
			a.v.unwatch()
		}
	}()
	for {
		e, err := a.step(ctx)
		switch {
		case e != nil:
			return e, nil
		case errors.Is(err, lock.ErrUnavailable) && ctx.Err() == nil:
			// We have a lease and a place: only their end is a reason to go.
			a.v.stale = true
			a.pause.Wait(ctx)
			continue
		case err != nil:
			return nil, err
		}
		a.pause = lock.NewPause()
		a.watch(ctx)
		if err := a.rest(ctx); err != nil {
			return nil, err
		}
	}
}

// step makes the requests that are due.
func (a *campaign) step(ctx context.Context) (*lease, error) {
	if _, err := a.l.store.pool.Await(ctx); err != nil {
		return nil, err
	}
	if a.v.stale || bootclock.Now() >= a.lookAt {
		if err := a.look(ctx); err != nil {
			return nil, err
		}
	}
	for a.v.pred == nil && a.settled() {
		rev, err := a.win(ctx)
		if err != nil {
			return nil, err
		}
		if rev != 0 {
			return a.won(rev)
		}
	}
	return nil, nil
}

// rest waits for something to do.
func (a *campaign) rest(ctx context.Context) error {
	wake := a.lookAt
	if a.v.pred == nil {
		wake = min(wake, a.settle.until)
	}
	wake = a.announcer.Announce(a.leader(), wake)
	t := time.NewTimer(wake.Until())
	defer t.Stop()
	select {
	case ev := <-a.events:
		return a.note(ev)
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// note takes an event of a watch.
func (a *campaign) note(ev event) error {
	if ev.behind {
		// Of the two watches the one on the place decides when to act.
		a.v.stale = a.v.stale || a.v.pred != nil && a.v.pred.key == ev.key
		return nil
	}
	if ev.key == a.l.keys.record() {
		if ev.rev < a.v.rec.seen {
			return nil
		}
		if ev.kv == nil { // somebody deleted it: look what else is gone
			a.v.stale = true
			return nil
		}
		rec, err := decodeRecord(ev.key, ev.kv, ev.rev)
		if err != nil {
			return err
		}
		a.v.rec, a.v.leads = rec, rec.State == lock.Held // whoever writes it leads
		return nil
	}
	if p := a.v.pred; p == nil || p.key != ev.key || ev.kv != nil && ev.kv.CreateRevision == p.create {
		return nil
	}
	a.predGone(ev.at)
	return nil
}

// predGone draws the conclusion: if it led, we are first. If somebody else
// leads it was only a place in the middle, and the one before it is to be found.
func (a *campaign) predGone(at bootclock.Instant) {
	v := &a.v
	owner := v.pred.owner()
	v.unwatch()
	v.unwatch = nil
	if v.rec.heldByOther(owner) {
		v.stale = true
		return
	}
	v.pred, v.leads = nil, false
	if v.rec.State == lock.Held {
		a.settle = newSettling(owner, at, v.expiry)
	}
	// The record was mostly written in the same transaction, and the other watch
	// tells in the same instant; if not, ask.
	a.lookAt = min(a.lookAt, at.Add(settleSoon))
}

// watch follows whatever the view now depends on.
func (a *campaign) watch(ctx context.Context) {
	v := &a.v
	if !v.watching {
		v.watching = true
		a.follow(ctx, a.l.keys.record(), v.rec.seen)
	}
	p := v.pred
	if p == nil {
		return
	}
	if v.unwatch == nil {
		var pctx context.Context
		pctx, v.unwatch = context.WithCancel(ctx)
		a.follow(pctx, p.key, v.rec.seen)
	}
	if v.expiry == nil && v.leads && v.rec.Owner == p.owner() && p.lease != noLease {
		v.expiry = &expiry{}
		e := v.expiry
		a.tasks.Go(func() { e.run(ctx, a.l.store, p.lease) })
	}
}

func (a *campaign) follow(ctx context.Context, key string, after int64) {
	send := func(ev event) bool {
		ev.at = bootclock.Now()
		select {
		case a.events <- ev:
			return true
		case <-ctx.Done():
			return false
		}
	}
	a.tasks.Go(func() {
		a.l.store.follow(ctx, watch{
			key: key, after: after,
			see:    func(kv *pb.KeyValue, rev int64) bool { return send(event{key: key, kv: kv, rev: rev}) },
			behind: func() { send(event{key: key, behind: true}) },
		})
	})
}
