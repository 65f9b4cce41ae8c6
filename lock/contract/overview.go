package contract

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"leaderrun/lock"
)

// elections: each that was led is listed by its name, and no other.
func elections(p *place) {
	names := p.oddNames()
	slices.Sort(names)
	for _, name := range names {
		q := *p
		q.election = name
		p.release(q.lead("a"))
	}
	if _, err := p.store.Locker(p.election + "-asked").Holder(p.Context()); err != nil {
		p.Error(err)
	}
	all, err := p.connect().Elections(p.Context())
	p.must(err)
	if !slices.IsSorted(all) {
		p.Errorf("not sorted: %q", all)
	}
	ours := slices.DeleteFunc(all, func(name string) bool { return len(name) < len(p.election) || name[:len(p.election)] != p.election })
	if !slices.Equal(ours, names) {
		p.Errorf("elections %q, want %q", ours, names)
	}
}

// queue: those who stand by, in the order of their coming, and nobody else.
func queue(p *place) {
	if q, err := p.locker().Queue(p.Context()); err != nil || len(q) != 0 {
		p.Errorf("queue of an election that never was: %+v, %v", q, err)
	}
	l := p.lead("a")
	p.queues()
	b, c, d := p.standBy("b", l), p.standBy("c", l), p.standBy("d", l)
	for _, h := range p.queues("b", "c", "d") {
		if h.Host != "contract" || h.PID != os.Getpid() || h.Token != 0 || time.Since(h.Since).Abs() > patient {
			p.Errorf("stands by: %+v", h)
		}
	}
	if h := p.holder(); h.PID != os.Getpid() || h.TTL < p.TTL {
		p.Errorf("holder: %+v", h)
	}
	if ticket := <-b.queued; ticket.File == nil { // else the kernel sees who is dead
		p.must(p.connect().Release(p.Context(), ticket))
		p.queues("c", "d", "b") // alive, it campaigns again
	}
	b.cancel(errors.New("told to stop"))
	_ = b.fails(2 * prompt)
	p.queues("c", "d")
	p.release(l)
	select {
	case <-c.done:
		p.queues("d")
		p.release(c.lease)
		p.release(d.wins(prompt))
	case <-d.done:
		p.queues("c")
		p.release(d.lease)
		p.release(c.wins(prompt))
	case <-time.After(prompt):
		p.Fatal("nobody leads after a release")
	}
	p.queues()
}

// queues waits until those stand by.
func (p *place) queues(want ...string) []lock.Holder {
	p.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(2 * prompt); ; {
		q, err := p.locker().Queue(p.Context())
		if !errors.Is(err, lock.ErrUnavailable) { // a busy server is asked again
			p.must(err)
		}
		var ids []string
		for _, h := range q {
			ids = append(ids, h.ID)
		}
		if err == nil && slices.Equal(ids, want) {
			return q
		}
		select {
		case <-tick.C:
		case <-end:
			p.Fatalf("queue is %q, %v; want %q", ids, err, want)
		}
	}
}

// previous: a winner knows how the tenure before ended, and for whom.
func previous(p *place) {
	first := p.lead("a")
	if r := first.Previous(); r.State != "" || r.Token != 0 {
		p.Errorf("before the first tenure: %s", describe(r))
	}
	p.release(first)
	second := p.start(p.connect(), p.candidate("b")).wins(prompt)
	p.follows(second, first, lock.Clean, nil)
	waiting := p.standBy("c", second)
	to := lock.Handover{To: "c/1 ü", Hops: 3}
	second.HandOver(to)
	late, cancel := context.WithCancel(p.Context())
	cancel()
	_ = second.Release(late) // perhaps half of it
	p.release(second)
	third := waiting.wins(prompt)
	p.follows(third, second, lock.Clean, &to)
	if p.Record != nil {
		if r, _ := p.Record(p, p.election); r.Handover != nil {
			p.Errorf("record of the tenure that was handed over: %+v", *r.Handover)
		}
	}
	p.release(third)
	fourth := p.lead("d")
	p.follows(fourth, third, lock.Clean, nil)
	p.release(fourth)
}

// follows asserts what is known of the tenure before.
func (p *place) follows(l, before lock.Lease, state string, to *lock.Handover) {
	p.Helper()
	r := l.Previous()
	if r.State != state || r.Token != before.Token() || r.Holder.Token != before.Token() {
		p.Errorf("previous of token %d: %s; want %s with token %d", l.Token(), describe(r), state, before.Token())
	}
	if (r.Handover == nil) != (to == nil) || to != nil && *r.Handover != *to {
		p.Errorf("previous of token %d: handover %+v, want %+v", l.Token(), r.Handover, to)
	}
}

// renewedInQueue: a standby gives signs of life, at the pace of renewals.
func renewedInQueue(p *place) {
	l := p.lead("a")
	b := p.standBy("b", l)
	began := time.Now()
	for signs := 0; signs < 2; {
		if n := within(p, "a sign that the campaign goes on", p.TTL+prompt, b.notices); n.Kind == lock.Renewed {
			signs++
			if n.Took < 0 || n.Took > prompt {
				p.Errorf("took %v", n.Took)
			}
		}
	}
	if took := time.Since(began); took < p.TTL/50 {
		p.Errorf("two of them in %v, under a TTL of %v", took, p.TTL)
	}
}
