package contract

import (
	"errors"

	"leaderrun/lock"
)

// ticketOfWaiter: what a crashed standby leaves in the queue can be given back,
// and harms nobody there or after.
func ticketOfWaiter(p *place) {
	first := p.lead("a")
	b := p.standBy("b", first)
	ticket := <-b.queued
	c := p.standBy("c", first)
	other := p.connect()
	p.must(other.Release(p.Context(), ticket))
	p.holds(first, "a")
	b.cancel(errors.New("crashed"))
	p.release(first)
	next := c.wins(prompt)
	p.must(other.Release(p.Context(), ticket))
	p.holds(next, "c")
}

// ticketOfHolder: what a crashed leader held can be given back: the next one
// leads at once, without settling.
func ticketOfHolder(p *place) {
	a := p.start(p.store, p.candidate("a"))
	l := a.wins(patient)
	b := p.standBy("b", l)
	p.must(p.connect().Release(p.Context(), <-a.queued))
	next := b.wins(prompt)
	if next.Token() <= l.Token() {
		p.Errorf("token %d after token %d", next.Token(), l.Token())
	}
	within(p, "the loss", prompt, l.Lost())
	if !errors.Is(l.Err(), lock.ErrLost) {
		p.Errorf("error after the loss: %v, want ErrLost", l.Err())
	}
	p.release(l)
	p.holds(next, "b")
}

// ticketOfLoneHolder: a holder learns that its lock was given back for it.
func ticketOfLoneHolder(p *place) {
	a := p.start(p.store, p.candidate("a"))
	l := a.wins(patient)
	p.must(p.connect().Release(p.Context(), <-a.queued))
	within(p, "the loss", prompt, l.Lost())
	if !errors.Is(l.Err(), lock.ErrLost) {
		p.Errorf("error after the loss: %v, want ErrLost", l.Err())
	}
	if h := p.holder(); h != (lock.Holder{}) {
		p.Errorf("holder: %+v", h)
	}
	p.release(l)
}

// lateTicket: a ticket names a tenure, never the election.
func lateTicket(p *place) {
	a := p.start(p.store, p.candidate("a"))
	l := a.wins(patient)
	ticket := <-a.queued
	p.release(l)
	other := p.connect()
	p.must(other.Release(p.Context(), ticket)) // nobody leads
	next := p.lead("b")
	p.must(other.Release(p.Context(), ticket))
	p.must(other.Release(p.Context(), lock.Ticket{Data: ticket.Data}))
	p.holds(next, "b")
	within(p, "a renewal", patient, next.Renewed())
	p.holds(next, "b")
	if p.Record != nil {
		if r, ok := p.Record(p, p.election); !ok || r.State != lock.Held || r.Token != next.Token() {
			p.Errorf("record: %v %s", ok, describe(r))
		}
	}
}
