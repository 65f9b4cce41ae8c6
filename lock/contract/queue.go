package contract

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"leaderrun/lock"
)

// neverTwo: candidates that hammer one election take turns, all of them, and
// tokens rise in that order.
func neverTwo(p *place) {
	const candidates, turns = 6, 6
	var inside atomic.Int32
	var last atomic.Uint64
	var all sync.WaitGroup
	for i := range candidates {
		store, c := p.connect(), p.candidate(fmt.Sprint("c", i))
		all.Go(func() {
			for range turns {
				ctx, cancel := context.WithTimeout(p.Context(), 2*patient)
				l, err := store.Locker(p.election).Acquire(ctx, c)
				cancel()
				if err != nil {
					p.Errorf("%s: %v", c.ID, err)
					return
				}
				if n := inside.Add(1); n != 1 {
					p.Errorf("%d holders at once", n)
				}
				if before := last.Swap(uint64(l.Token())); before >= uint64(l.Token()) {
					p.Errorf("token %d after token %d", l.Token(), before)
				}
				select {
				case <-l.Lost():
					p.Errorf("%s lost its lease: %v", c.ID, l.Err())
				case <-time.After(rand.N(3 * time.Millisecond)):
				}
				inside.Add(-1)
				if err := l.Release(p.Context()); err != nil {
					p.Errorf("%s: release: %v", c.ID, err)
				}
			}
		})
	}
	all.Wait()
}

// standingBy: those who wait are told who leads, within a second of each
// change.
func standingBy(p *place) {
	first := p.lead("a")
	waiting := map[string]*attempt{}
	for _, id := range []string{"b", "c"} {
		waiting[id] = p.start(p.connect(), p.candidate(id))
		if h := waiting[id].standsBehind(first.Token(), prompt); h.ID != "a" || h.Host != "contract" {
			p.Errorf("%s stands behind %+v", id, h)
		}
	}
	p.release(first)
	var next *attempt
	select {
	case <-waiting["b"].done:
		next = waiting["b"]
	case <-waiting["c"].done:
		next = waiting["c"]
	case <-time.After(prompt):
		p.Fatal("nobody leads after a release")
	}
	l := next.wins(prompt)
	delete(waiting, next.id)
	for _, other := range waiting {
		if h := other.standsBehind(l.Token(), prompt); h.ID != next.id {
			p.Errorf("%s stands behind %+v, but %s leads", other.id, h, next.id)
		}
		p.release(l)
		other.wins(prompt)
	}
}

// cancelledInQueue: whoever leaves the queue leaves no place behind.
func cancelledInQueue(p *place) {
	first := p.lead("a")
	b := p.standBy("b", first)
	c := p.standBy("c", first)
	why := errors.New("told to stop")
	b.cancel(why)
	if err := b.fails(2 * prompt); !errors.Is(err, why) {
		p.Errorf("cancelled: %v, want the cause", err)
	}
	p.holds(first, "a")
	p.release(first)
	p.release(c.wins(prompt))
	p.release(p.start(p.connect(), p.candidate("d")).wins(prompt))
}

// cancelledBefore: a campaign with a context that is done ends at once.
func cancelledBefore(p *place) {
	why := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(p.Context())
	cancel(why)
	if l, err := p.locker().Acquire(ctx, p.candidate("a")); !errors.Is(err, why) {
		p.Errorf("acquire: %v, %v; want the cause", l, err)
	}
	p.release(p.start(p.connect(), p.candidate("b")).wins(prompt))
}

// cancelledAtHandOver: whatever comes of a candidate that is told to stop in
// the moment in which it gets the lock, the lock is not lost.
func cancelledAtHandOver(p *place) {
	why := errors.New("told to stop")
	won := 0
	handOver := 5 * time.Millisecond // about how long one takes
	stores := []lock.Store{p.connect(), p.connect()}
	for round := range 40 {
		holder := p.start(p.store, p.candidate("a")).wins(prompt)
		b := p.start(stores[round%2], p.candidate("b"))
		b.standsBehind(holder.Token(), prompt)
		released := make(chan error, 1)
		began := time.Now()
		time.AfterFunc(rand.N(2*handOver), func() { b.cancel(why) })
		go func() { released <- holder.Release(context.Background()) }()
		within(p, "b to end its campaign", patient, b.done)
		p.must(within(p, "the release", patient, released))
		switch {
		case b.err == nil:
			won++
			handOver = min(handOver+time.Since(began), 100*time.Millisecond) / 2
			p.release(b.lease)
		case !errors.Is(b.err, why):
			p.Fatalf("round %d: %v, want the cause", round, b.err)
		}
		p.release(p.start(stores[(round+1)%2], p.candidate("c")).wins(prompt))
	}
	p.Logf("b won %d of 40 rounds", won)
}
