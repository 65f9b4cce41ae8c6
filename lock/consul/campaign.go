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

// A campaign is one stay before the lock. One goroutine owns it; watches send it
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
	settle    settling
	announcer *lock.Announcer
	lookAt    bootclock.Instant
	retry     time.Duration
	tryUntil  bootclock.Instant
	pause     *lock.Pause // between requests that fail
	warned    string      // of a key that is not ours

	unwatch  context.CancelFunc // of the lock key
	watching bool               // the record
	events   chan event
	tasks    sync.WaitGroup // until the context of run is done
}

// An event is a state of the lock key, or, with record set, news of the record.
type event struct {
	key    lockKey
	at     bootclock.Instant
	record bool
}

func newCampaign(l *locker, c lock.Candidate, x *session, k *lock.Keeper, ttl time.Duration) *campaign {
	return &campaign{
		l: l, c: c, x: x, keeper: k, ttl: ttl, stale: true, retry: retryFirst,
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
	if a.key.session == "" && !a.refused {
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

// note takes an event of a watch.
func (a *campaign) note(ev event) error {
	if ev.record {
		a.stale = true
		return nil
	}
	if a.key.session == a.x.id || ev.key.index != 0 && ev.key.index <= a.key.index {
		return nil // its own watch follows our key; the other is no news
	}
	a.retry, a.delayed = retryFirst, false
	return a.see(ev.key, a.rec)
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

// watch follows whatever the campaign now depends on.
func (a *campaign) watch(ctx context.Context) {
	mine := a.key.session == a.x.id
	switch {
	case mine && a.unwatch != nil:
		a.unwatch()
	case !mine && a.unwatch == nil:
		var wctx context.Context
		wctx, a.unwatch = context.WithCancel(ctx)
		a.follow(wctx, a.l.keys.lock(), a.key.index, false)
	}
	if mine && !a.watching {
		a.watching = true
		a.follow(ctx, a.l.keys.record(), a.rec.index, true)
	}
}

func (a *campaign) follow(ctx context.Context, key string, after uint64, isRecord bool) {
	a.tasks.Go(func() {
		a.l.store.follow(ctx, key, after, func(p *api.KVPair, _ uint64) bool {
			select {
			case a.events <- event{key: lockKeyOf(p), at: bootclock.Now(), record: isRecord}:
				return true
			case <-ctx.Done():
				return false
			}
		})
	})
}
