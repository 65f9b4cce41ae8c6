package zk

import (
	"context"
	"errors"
	"sync"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// lookAfter is how often a candidate in the queue reads what its watches should
// have told; lookSoon the same while it is the first and settles, or no watch can
// tell.
const (
	lookAfter = 3 * time.Second
	lookSoon  = 250 * time.Millisecond
)

// A campaign is one stay in the queue. One goroutine owns it; watches send it
// events.
type campaign struct {
	l      *locker
	c      lock.Candidate
	x      *session
	keeper *lock.Keeper
	ttl    time.Duration // as granted

	ctx       context.Context // of run: how long watches matter
	v         view
	enqueued  bool        // the ticket is out
	tried     bool        // a winning transaction was sent
	replaced  lock.Record // what it writes that over
	held      lock.Record // what it writes
	settle    settling
	announcer *lock.Announcer
	lookAt    bootclock.Instant
	pause     *lock.Pause // between requests that fail
	warned    string      // of what is in the way

	events chan event
	tasks  sync.WaitGroup // until the context of run is done
}

// An event is the end of a watch: on the place before ours, or on the record.
type event struct {
	pred string // its path; empty: the record
	gone bool   // the place; else nothing is known
	at   bootclock.Instant
}

func newCampaign(l *locker, c lock.Candidate, x *session, k *lock.Keeper, ttl time.Duration) *campaign {
	return &campaign{
		l: l, c: c, x: x, keeper: k, ttl: ttl,
		announcer: lock.NewAnnouncer(c.Notify), pause: lock.NewPause(), events: make(chan event),
	}
}

// wait returns once we have won.
func (a *campaign) wait(ctx context.Context) (*lease, error) {
	for {
		e, err := a.step(ctx)
		switch {
		case e != nil:
			return e, nil
		case errors.Is(err, lock.ErrUnavailable) && !errors.Is(err, errQuota) && ctx.Err() == nil:
			// We have a session and a place: only their end is a reason to go.
			a.v.stale = true
			a.pause.Wait(ctx)
			continue
		case err != nil:
			return nil, err
		}
		a.pause = lock.NewPause()
		if err := a.rest(ctx); err != nil {
			return nil, err
		}
	}
}

// step makes the requests that are due.
func (a *campaign) step(ctx context.Context) (*lease, error) {
	if a.v.stale || bootclock.Now() >= a.lookAt {
		if err := a.look(ctx); err != nil {
			return nil, err
		}
	}
	for !a.v.stale && a.v.pred == nil && a.settled() {
		rec, err := a.win(ctx)
		if err != nil {
			return nil, err
		}
		if rec.exists {
			return a.won(rec)
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
	if a.v.stale {
		wake = bootclock.Now()
	}
	wake = a.announcer.Announce(a.leader(), wake)
	t := time.NewTimer(wake.Until())
	defer t.Stop()
	select {
	case ev := <-a.events:
		a.note(ev)
		return nil
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// note takes the end of a watch. A watch tells once, and must be set again.
func (a *campaign) note(ev event) {
	v := &a.v
	if ev.pred == "" {
		v.watchesRecord, v.stale = false, true
		return
	}
	if v.pred == nil || v.pred.path != ev.pred {
		return
	}
	v.watchesPred, v.stale = false, true
	if ev.gone && v.rec.heldByOther(a.x.owner) && v.rec.Owner == v.pred.owner {
		a.settle = newSettling(v.pred.owner, ev.at)
	}
}

// follow sends the event when something comes on the channel.
func (a *campaign) follow(w watched, pred string) {
	a.tasks.Go(func() {
		select {
		case ev := <-w:
			select {
			case a.events <- event{pred: pred, gone: ev.Type == deleted, at: bootclock.Now()}:
			case <-a.ctx.Done():
			}
		case <-a.ctx.Done():
		}
	})
}
