package contract

import (
	"errors"
	"time"

	"leaderrun/lock"
)

// eachFault runs a part of a test for every way to take the lock by hand.
func (p *place) eachFault(run func(p *place, strike func())) {
	if len(p.Faults) == 0 {
		p.Skip("no way to take the lock by hand")
	}
	for name, fault := range p.Faults {
		p.sub(name, func(p *place) {
			run(p, func() {
				p.Helper()
				fault(p, p.election)
			})
		})
	}
}

// taken: a holder learns at once that its lock is gone, and writes no more.
func taken(p *place) {
	p.eachFault(func(p *place, strike func()) {
		l := p.lead("a")
		p.must(l.Put(p.Context(), "key", []byte("before")))
		strike()
		if err := l.Put(p.Context(), "key", []byte("after")); !errors.Is(err, lock.ErrLost) {
			p.Errorf("put after the loss: %v, want ErrLost", err)
		}
		within(p, "the loss", prompt, l.Lost())
		if !errors.Is(l.Err(), lock.ErrLost) {
			p.Errorf("error after the loss: %v, want ErrLost", l.Err())
		}
		if v, err := p.locker().Get(p.Context(), "key"); err != nil || string(v) != "before" {
			p.Errorf("value after the loss: %q, %v", v, err)
		}
		p.release(l)
		p.release(l)
		p.release(p.start(p.connect(), p.candidate("b")).wins(prompt))
	})
}

// takenWithQueue: whoever lost the lock campaigns behind those who waited.
func takenWithQueue(p *place) {
	p.eachFault(func(p *place, strike func()) {
		l := p.lead("a")
		b := p.standBy("b", l)
		strike()
		within(p, "the loss", prompt, l.Lost())
		p.release(l)
		again := p.start(p.store, p.candidate("a"))
		next := b.wins(prompt)
		again.standsBehind(next.Token(), prompt)
		p.release(next)
		again.wins(prompt)
	})
}

// settlesUntilClean: the next holder waits until the one before says that its
// tree is dead, and no longer.
func settlesUntilClean(p *place) {
	p.eachFault(func(p *place, strike func()) {
		l := p.lead("a")
		b := p.standBy("b", l)
		strike()
		within(p, "the loss", prompt, l.Lost())
		b.waits(lock.SettleTime / 2)
		began := time.Now()
		p.release(l)
		next := b.wins(prompt)
		p.Logf("leads %v after the record was clean", time.Since(began))
		if next.Token() <= l.Token() {
			p.Errorf("token %d after token %d", next.Token(), l.Token())
		}
		p.release(l) // what is not ours any more stays
		p.holds(next, "b")
	})
}

// settlesForATime: a holder that says nothing is waited for, not for ever.
func settlesForATime(p *place) {
	p.eachFault(func(p *place, strike func()) {
		l := p.lead("a")
		b := p.standBy("b", l)
		strike()
		began := time.Now()
		next := b.wins(lock.SettleTime + 2*p.TTL + patient)
		took := time.Since(began)
		p.Logf("settled for %v", took)
		p.follows(next, l, lock.Held, nil)
		if took < lock.SettleTime*9/10 {
			p.Errorf("settled for %v only", took)
		}
		if took > lock.SettleTime+prompt {
			p.Errorf("settled for as long as %v", took)
		}
		p.release(l)
		p.holds(next, "b")
	})
}
