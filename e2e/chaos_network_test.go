//go:build linux

package e2e

import (
	"time"

	"leaderrun/scripts/servers"
)

// networkFaults are those of one candidate's way to the store: a proxy before each
// node that it alone uses, or a cable.
var networkFaults = []*faultKind{
	{name: "held briefly", weight: 2, class: onNetwork, harmless: true, acts: way((*servers.Proxy).Hold, (*chaos).brief)},
	{name: "held", weight: 1, class: onNetwork, acts: way((*servers.Proxy).Hold, (*chaos).long)},
	{name: "held to the store", weight: 1, class: onNetwork, acts: way((*servers.Proxy).HoldUp, (*chaos).long)},
	{name: "held from the store", weight: 1, class: onNetwork, acts: way((*servers.Proxy).HoldDown, (*chaos).long)},
	{name: "connections reset", weight: 1, class: onNetwork, harmless: true, acts: reset},
	{name: "answers late", weight: 1, class: onNetwork, harmless: true, acts: late},
	{name: "answers late, then held", weight: 4, class: onNetwork, acts: lateThenHeld},
	{name: "dropped briefly", weight: 1, class: onNetwork, harmless: true, at: distant, acts: dropped((*servers.Netns).Drop, (*chaos).brief)},
	{name: "dropped", weight: 1, class: onNetwork, at: distant, acts: dropped((*servers.Netns).Drop, (*chaos).long)},
	{name: "dropped to the store", weight: 1, class: onNetwork, at: distant, acts: dropped((*servers.Netns).DropOut, (*chaos).long)},
	{name: "dropped from the store", weight: 1, class: onNetwork, at: distant, acts: dropped((*servers.Netns).DropIn, (*chaos).long)},
}

func distant(c *chaos, _ step) *place { return c.places[distantPlace] }

// each does something to all proxies of a place.
func (p *place) each(do func(*servers.Proxy)) func() error {
	return func() error {
		for _, proxy := range p.proxies {
			do(proxy)
		}
		return nil
	}
}

func way(hold func(*servers.Proxy), length func(*chaos, step) time.Duration) func(*chaos, *place, step) []act {
	return func(c *chaos, p *place, s step) []act {
		return between(length(c, s), p.each(hold), p.each((*servers.Proxy).Resume))
	}
}

func reset(_ *chaos, p *place, _ step) []act { return once(p.each((*servers.Proxy).Reset)) }

// lateness of an answer is so much that a renewal takes six tenths of its time-out.
// On Consul it is two requests, on ZooKeeper two, and two more if it has to connect.
func (c *chaos) lateness() time.Duration {
	switch c.store.kind {
	case zkKind:
		return c.ttl / 8 * 15 / 100
	case consulKind:
		return c.ttl / 6 * 3 / 10
	default:
		return c.ttl / 6 * 6 / 10
	}
}

func (p *place) delay(down time.Duration) func() error {
	return p.each(func(proxy *servers.Proxy) { proxy.Delay(0, down) })
}

// late lets every renewal be answered late, but answered.
func late(c *chaos, p *place, s step) []act {
	return between(c.long(s), p.delay(c.lateness()), p.delay(0))
}

// lateThenHeld is what a deadline does not survive that counts from the answer: the
// last one that comes is late, and the store has counted from the request.
func lateThenHeld(c *chaos, p *place, s step) []act {
	held := c.ttl/2 + time.Duration(s.detail*float64(c.ttl)/2)
	late := c.lateness() * 4 / 3
	return []act{
		{do: p.delay(late)},
		// A request that came through, and its answer not, would keep the lease for
		// longer than the last answer says.
		{after: held, do: p.each((*servers.Proxy).HoldUp), bites: true},
		{after: held + late + 100*time.Millisecond, do: p.each((*servers.Proxy).Hold)},
		{after: held + c.ttl*3/2, do: func() error { _ = p.delay(0)(); return p.each((*servers.Proxy).Resume)() }},
	}
}

func dropped(drop func(*servers.Netns) error, length func(*chaos, step) time.Duration) func(*chaos, *place, step) []act {
	return func(c *chaos, p *place, s step) []act {
		return between(length(c, s), func() error { return drop(p.ns) }, p.ns.Heal)
	}
}
