package consul

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

const (
	// retryFirst is when a candidate looks again that does not know yet who locked
	// the key, or could not lock a free one; later twice as long each time, up to
	// retryMost.
	retryFirst = 10 * time.Millisecond
	retryMost  = time.Second
	// lookAfter is how often a candidate that stands by reads what its watch should
	// have told, settleLook the same while it settles. What stands before the agent
	// may end answers that take seconds: then no watch tells anything at all.
	lookAfter  = 5 * time.Second
	settleLook = 250 * time.Millisecond
	// tryFor is how long Candidate.Try goes on when the key is free and yet may not
	// be locked: the lock-delay of sessions that are not ours.
	tryFor = 200 * time.Millisecond
)

// A campaign is one stay before the lock. One goroutine owns it; a watch sends it
// events.
type campaign struct {
	l      *locker
	c      lock.Candidate
	x      *session
	keeper *lock.Keeper
	ttl    time.Duration // as granted

	key       lockKey
	rec       record
	stale     bool // key and rec must be read again before anything is decided
	looked    bool // such a read has succeeded
	enqueued  bool // the ticket is out
	tried     bool // a request to lock was sent
	refused   bool // the latest such request was rolled back: only news or a look help
	delayed   bool // for a lock-delay, since there was news of the key
	held      lock.Record
	replaced  lock.Record // what our record was written over
	settle    settling
	announcer *lock.Announcer
	lookAt    bootclock.Instant
	retry     time.Duration
	tryUntil  bootclock.Instant
	pause     *lock.Pause // between requests that fail
	warned    string      // of a key that is not ours

	placed   bool // we have a place in the queue
	alone    bool // it is not for us
	unsorted bool // the queue must be read again
	pred     *api.KVPair
	dead     api.KVPairs // places of sessions that are gone
	idle     lockKey     // seen to be free while others were before us
	overdue  bootclock.Instant

	watched string // the key, "" for none
	unwatch context.CancelFunc
	events  chan event
	tasks   sync.WaitGroup // until the context of run is done
}

// An event is news of a key.
type event struct {
	name string
	pair *api.KVPair
}

func newCampaign(l *locker, c lock.Candidate, x *session, k *lock.Keeper, ttl time.Duration) *campaign {
	return &campaign{
		l: l, c: c, x: x, keeper: k, ttl: ttl, stale: true, unsorted: !c.Try, alone: c.Try, retry: retryFirst,
		announcer: lock.NewAnnouncer(c.Notify), pause: lock.NewPause(), events: make(chan event),
		tryUntil: bootclock.Now().Add(tryFor),
	}
}

// wait returns once we have won.
func (a *campaign) wait(ctx context.Context) (*lease, error) {
	defer func() {
		if a.unwatch != nil {
			a.unwatch()
		}
	}()
	for {
		e, err := a.step(ctx)
		switch {
		case e != nil:
			return e, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, lock.ErrUnavailable) || a.looked && mayPass(err):
			// We have a session: only its end is a reason to go. The keeper complains,
			// and gives up in time.
			a.stale = true
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
	if a.stale || bootclock.Now() >= a.lookAt {
		if err := a.look(ctx); err != nil {
			return nil, err
		}
	}
	if a.mustQueue() {
		if err := a.enqueue(ctx); err != nil {
			return nil, err
		}
	}
	if a.key.session == "" && !a.refused && a.ourTurn() {
		if err := a.acquire(ctx); err != nil {
			return nil, err
		}
	}
	for a.key.session == a.x.id && a.settled() {
		rec, err := a.win(ctx)
		if err != nil {
			return nil, err
		}
		if rec.index != 0 {
			return a.won(rec)
		}
	}
	if a.c.Try && a.key.session != a.x.id && (a.key.session != "" || bootclock.Now() >= a.tryUntil) {
		return nil, lock.ErrHeld
	}
	return nil, nil
}

// rest waits for something to do.
func (a *campaign) rest(ctx context.Context) error {
	wake := a.lookAt
	if a.key.session == a.x.id {
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

// note takes an event. Its watch has ended with it.
func (a *campaign) note(ev event) error {
	if ev.name != a.watched {
		return nil // of a watch that was given up
	}
	a.unwatch()
	a.watched = ""
	key := lockKeyOf(ev.pair)
	switch {
	case ev.name == a.l.keys.lock():
		return a.noteLock(key, ev.pair)
	case ev.name == a.l.keys.record():
		a.stale = true
	case key.session == a.pred.Session:
		a.pred = ev.pair // with a new value
	default:
		a.stale, a.unsorted = true, true
	}
	return nil
}

func (a *campaign) noteLock(key lockKey, p *api.KVPair) error {
	if key.index != 0 && key.index <= a.key.index {
		return nil
	}
	a.retry, a.delayed = retryFirst, false
	rec := a.rec
	if clean, ok := releasedWith(p); ok {
		clean.key = rec.key
		rec = clean
	}
	return a.see(key, rec)
}

// leader is who leads as far as people should be told; zero for nobody.
func (a *campaign) leader() lock.Holder {
	if a.key.session == a.x.id || !a.rec.heldBy(a.key.session) {
		return lock.Holder{}
	}
	h := a.rec.Holder
	h.Token = a.rec.Token
	return h
}

// watch follows the one key that we now depend on, for one piece of news.
func (a *campaign) watch(ctx context.Context) {
	name, seen := a.l.keys.lock(), a.key.index
	switch {
	case a.key.session == a.x.id:
		name, seen = a.l.keys.record(), a.rec.index
	case a.pred != nil:
		name, seen = a.pred.Key, a.pred.ModifyIndex
	}
	if a.watched == name {
		return
	}
	if a.watched != "" {
		a.unwatch()
	}
	a.watched = name
	ctx, a.unwatch = context.WithCancel(ctx)
	a.tasks.Go(func() {
		a.l.store.follow(ctx, name, seen, func(p *api.KVPair, _ uint64) bool {
			if lockKeyOf(p).index == seen {
				return true
			}
			select {
			case a.events <- event{name, p}:
			case <-ctx.Done():
			}
			return false
		})
	})
}
