package contract

import (
	"context"
	"errors"
	"strings"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// oneTenure: a lease is good from Acquire to Release, and not after.
func oneTenure(p *place) {
	if h := p.holder(); h != (lock.Holder{}) {
		p.Fatalf("holder of an election that never was: %+v", h)
	}
	l := p.lead("a")
	if l.Token() == 0 || l.Err() != nil || closed(l.Lost()) || bootclock.Now() >= l.ValidUntil() {
		p.Fatalf("bad lease: token %d, error %v, %v left", l.Token(), l.Err(), l.ValidUntil().Until())
	}
	if left := l.ValidUntil().Until(); left >= p.TTL {
		p.Errorf("valid for another %v, the TTL is %v", left, p.TTL)
	}
	p.holds(l, "a")
	if h := p.holder(); h.Host != "contract" || time.Since(h.Since).Abs() > patient {
		p.Errorf("holder: %+v", h)
	}
	p.release(l)
	within(p, "Lost after a release", prompt, l.Lost())
	if !errors.Is(l.Err(), lock.ErrReleased) {
		p.Errorf("error after a release: %v", l.Err())
	}
	if h := p.holder(); h != (lock.Holder{}) {
		p.Errorf("holder after a release: %+v", h)
	}
	if err := l.Put(p.Context(), "late", nil); !errors.Is(err, lock.ErrLost) {
		p.Errorf("put after a release: %v", err)
	}
	p.release(l)

	next := p.start(p.connect(), p.candidate("b")).wins(prompt)
	if next.Token() <= l.Token() {
		p.Errorf("token %d after token %d", next.Token(), l.Token())
	}
	p.release(l) // once more: it is not its lock any more
	p.holds(next, "b")
}

// record: it says held before anyone can start a child, and clean after.
func record(p *place) {
	if p.Record == nil {
		p.Skip("the store's record cannot be read")
	}
	if r, ok := p.Record(p, p.election); ok {
		p.Fatalf("record of an election that never was: %s", describe(r))
	}
	for range 2 {
		l := p.lead("a")
		r, ok := p.Record(p, p.election)
		if !ok || r.State != lock.Held || r.Token != l.Token() || r.TTL < p.TTL || r.Owner == "" ||
			r.Holder.ID != "a" || r.Holder.Token != l.Token() {
			p.Errorf("record of a tenure with token %d: %v %s", l.Token(), ok, describe(r))
		}
		owner := r.Owner
		p.release(l)
		r, ok = p.Record(p, p.election)
		if !ok || r.State != lock.Clean || r.Token != l.Token() || r.Owner != owner {
			p.Errorf("record after a release: %v %s", ok, describe(r))
		}
	}
}

// try: one attempt does not wait for a holder.
func try(p *place) {
	c := p.candidate("b")
	c.Try = true
	l := p.lead("a")
	b := p.start(p.connect(), c)
	if err := b.fails(prompt); !errors.Is(err, lock.ErrHeld) || errors.Is(err, lock.ErrLeftBehind) {
		p.Errorf("try: %v, want ErrHeld", err)
	}
	p.holds(l, "a")
	p.release(l)
	p.release(p.start(p.connect(), c).wins(prompt))
}

// config: what cannot hold is refused before the queue.
func config(p *place) {
	c := p.candidate("a")
	c.Grace = c.TTL
	c.Enqueue = func(lock.Ticket) error {
		p.Error("entered the queue")
		return nil
	}
	if err := p.start(p.store, c).fails(prompt); !errors.Is(err, lock.ErrConfig) {
		p.Errorf("grace as long as the TTL: %v, want ErrConfig", err)
	}
}

// enqueue: once, before the lock can be held, with a small ticket; its error
// ends the campaign.
func enqueue(p *place) {
	broken := errors.New("no guard")
	c := p.candidate("a")
	c.Enqueue = func(lock.Ticket) error { return broken }
	if err := p.start(p.store, c).fails(prompt); !errors.Is(err, broken) {
		p.Errorf("acquire: %v, want the error of Enqueue", err)
	}
	c.Enqueue = func(t lock.Ticket) error {
		if len(t.Data) == 0 || len(t.Data) > 1024 {
			p.Errorf("ticket of %d bytes", len(t.Data))
		}
		if h := p.holder(); h != (lock.Holder{}) {
			p.Errorf("holds the lock before Enqueue: %+v", h)
		}
		return nil
	}
	a := p.start(p.store, c)
	a.wins(prompt)
	if n := len(a.queued); n != 1 {
		p.Errorf("Enqueue was called %d times", n)
	}
}

// names: elections do not meet by accident.
func names(p *place) {
	names := p.oddNames()
	for _, name := range names {
		q := *p
		q.election = name
		l := q.start(p.store, q.candidate(name)).wins(patient)
		defer p.release(l)
	}
	for _, name := range names {
		h, err := p.store.Locker(name).Holder(p.Context())
		if err != nil || h.ID != name {
			p.Errorf("holder of %q: %+v, %v", name, h, err)
		}
	}
}

func (p *place) oddNames() []string {
	return []string{
		p.election, p.election + "2", p.election + ".lock", p.election + ".d", p.election + " x",
		p.election + "%2F", p.election + "-ü☃", p.election + "..",
		p.election + strings.Repeat("n", 200-len(p.election)),
	}
}

// renewal: the deadline moves, only forward, and says so.
func renewal(p *place) {
	l := p.lead("a")
	ctx, cancel := context.WithTimeout(p.Context(), patient)
	defer cancel()
	before, began := l.ValidUntil(), time.Now()
	for n := range 4 {
		select {
		case <-l.Renewed():
		case <-ctx.Done():
			p.Fatalf("after %v no renewal", time.Since(began))
		}
		now := l.ValidUntil()
		if now < before || now == before && n > 0 { // the first may have come before we looked
			p.Errorf("renewed from %d to %d", before, now)
		}
		if left := now.Until(); left > p.TTL {
			p.Errorf("valid for another %v, the TTL is %v", left, p.TTL)
		}
		before = now
	}
	p.holds(l, "a")
}
