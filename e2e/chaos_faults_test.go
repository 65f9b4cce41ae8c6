//go:build linux

package e2e

import (
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A class says which faults can be on at the same time: those of different ones, but
// for what is alone.
type class int

const (
	onProcess class = iota
	onNetwork
	onStore
	alone
)

// A faultKind is one thing that is done to an election.
type faultKind struct {
	name   string
	weight int
	class  class
	// harmless: it is to be survived, if nothing else happened just before.
	harmless bool
	harms    *kind // a store on which it is not
	blocks   bool  // see fault
	said     bool
	at       func(c *chaos, s step) *place // whom it hits if that is not the leader, or anybody
	acts     func(c *chaos, p *place, s step) []act
}

// An act is one part of a fault.
type act struct {
	after time.Duration // the fault's beginning
	do    func() error
	slow  bool // it runs in a goroutine of its own
	tidy  bool // it comes after the fault's end
	bites bool // what came before was but its preparation
}

// An attack is a fault that is under way.
type attack struct {
	fault
	step    step
	acts    []act   // still to come
	running int     // slow ones
	bit     instant // when it began to matter
	planned time.Duration
}

func (k *faultKind) mayBeginWith(going []*attack) bool {
	return !slices.ContainsFunc(going, func(a *attack) bool {
		return k.class == alone || a.step.kind.class == alone || a.step.kind.class == k.class
	})
}

func faultKinds(s *store) []*faultKind {
	all := slices.Concat(processFaults, exhaustionFaults, takenFaults(s))
	if s.isFile() {
		return append(all, fileFaults...)
	}
	return slices.Concat(all, networkFaults, nodeFaults)
}

// victim is whom the step hits: the leader four times out of five.
func (c *chaos) victim(s step) *place {
	if s.kind.at != nil {
		return s.kind.at(c, s)
	}
	leader := c.leader()
	if leader != nil && !s.standby {
		return leader
	}
	p := c.places[s.place]
	if p == leader {
		p = c.places[(s.place+1)%places]
	}
	return p
}

// begin does the first part of a fault. Others that are under way are then no more
// what is to be survived.
func (c *chaos) begin(s step) {
	p := c.victim(s)
	k := s.kind
	mayEnd := !k.harmless || k.harms == c.store.kind
	a := &attack{step: s, acts: k.acts(c, p, s), fault: fault{kind: k.name, blocks: k.blocks, said: k.said, mayEnd: mayEnd}}
	if k.class != onStore {
		a.hits = []string{p.id}
	}
	if leader := c.leader(); leader != nil && (leader == p || k.class == onStore) {
		a.leader = c.newest().token
	}
	c.tended = 0
	for _, other := range append(c.going, a) {
		if len(c.going) > 0 {
			other.mayEnd = true
			other.blocks = other.blocks || other.step.kind.class == onStore
		}
	}
	for _, part := range a.acts {
		if !part.tidy {
			a.planned = max(a.planned, part.after)
		}
	}
	if len(c.over) > 0 && now().since(c.over[len(c.over)-1].to) < c.ttl/4 {
		a.mayEnd = true
	}
	a.from = now()
	a.bit, a.to = a.from, a.from
	c.going = append(c.going, a)
	c.proceed()
}

// proceed does what is due of the faults under way.
func (c *chaos) proceed() {
	for len(c.done) > 0 {
		(<-c.done)()
	}
	for _, a := range c.going {
		for len(a.acts) > 0 && a.running == 0 && now() >= a.from.add(a.acts[0].after) {
			part := a.acts[0]
			a.acts = a.acts[1:]
			c.do(a, part)
		}
	}
	c.going = slices.DeleteFunc(c.going, func(a *attack) bool {
		over := len(a.acts) == 0 && a.running == 0
		if over {
			// On a loaded machine it may have taken longer than what is survived.
			a.mayEnd = a.mayEnd || a.to.since(a.from) > a.planned+c.ttl/8 && a.step.kind.class != onStore
			c.over = append(c.over, a)
		}
		return over
	})
}

func (c *chaos) do(a *attack, part act) {
	if part.bites {
		a.bit = now()
	}
	finish := func(err error) {
		if err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, unix.ESRCH) {
			c.t.Errorf("%s: %v", a.kind, err)
		}
		if !part.tidy {
			a.to = now()
		}
	}
	if !part.slow {
		finish(part.do())
		return
	}
	a.running++
	go func() {
		err := part.do()
		c.done <- func() {
			a.running--
			finish(err)
		}
	}()
}

// brief is an interruption that ends long before the deadline, whatever was renewed
// last.
func (c *chaos) brief(s step) time.Duration { return c.upTo(s, c.ttl/40, c.hiccup()) }

// hiccup is the longest of them. Of ZooKeeper's leases only half is not for renewing.
func (c *chaos) hiccup() time.Duration {
	if c.store.kind == zkKind {
		return c.ttl / 8
	}
	return c.ttl / 4
}

// long may be longer than a lease.
func (c *chaos) long(s step) time.Duration { return c.upTo(s, c.ttl/2, c.ttl*3/2) }

func (c *chaos) upTo(s step, least, most time.Duration) time.Duration {
	return least + time.Duration(s.length*float64(most-least))
}

func once(do func() error) []act { return []act{{do: do}} }

func between(d time.Duration, do, undo func() error) []act {
	return []act{{do: do}, {after: d, do: undo}}
}
