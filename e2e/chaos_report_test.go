//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// An effect is what faults of one kind did when they hit the leader.
type effect struct {
	hits     int
	wentOn   int
	deaths   []time.Duration // from the fault's beginning to the tree's last beat
	takeover []time.Duration // from the fault's beginning to the next one's first beat
}

// effects looks at what came of each fault that was alone in its time.
func (c *chaos) effects() map[string]*effect {
	all := map[string]*effect{}
	tenures := c.history.inOrder()
	for _, a := range c.over {
		n := c.history.tenures[a.leader]
		if n == nil || c.metAnother(a) {
			continue
		}
		e := all[a.kind]
		if e == nil {
			e = &effect{}
			all[a.kind] = e
		}
		e.hits++
		if n.last >= c.nextAfter(a).add(-200*time.Millisecond) {
			e.wentOn++
			continue
		}
		e.deaths = append(e.deaths, max(0, e.death(a, n).since(a.bit))) // it beats only now and then
		for _, next := range tenures {
			if next.token > n.token {
				e.takeover = append(e.takeover, next.first.since(a.bit))
				break
			}
		}
	}
	return all
}

// death is the tree's, or, where a said limit leaves what it forked, the command's.
func (*effect) death(a *attack, n *tenure) instant {
	if main := n.roles["main"]; a.said && main != 0 {
		return main
	}
	return n.last
}

// nextAfter is when the next fault began.
func (c *chaos) nextAfter(a *attack) instant {
	next := c.trial.ended
	for _, other := range c.over {
		if other.from > a.from {
			next = min(next, other.from)
		}
	}
	return next
}

// metAnother tells whether a fault was on together with another, or nearly so.
func (c *chaos) metAnother(a *attack) bool {
	return slices.ContainsFunc(c.over, func(other *attack) bool {
		return other != a && other.from <= a.to.add(time.Second/2) && other.to >= a.from.add(-time.Second/2)
	})
}

// report is what a run prints about one store.
func (c *chaos) report(v verdict, seed uint64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n=== %s: seed %d, %v, --ttl %v\n%v", c.trial.store, seed,
		c.trial.ended.since(c.trial.began).Round(time.Second), c.ttl, v)
	fmt.Fprintf(&b, "\n| %s: the leader was hit by | times | went on | died after (median, most) | the next began after (median, most) |\n|---|---|---|---|---|\n", c.trial.store)
	all := c.effects()
	for _, k := range faultKinds(c.store) {
		if e := all[k.name]; e != nil {
			fmt.Fprintf(&b, "| %s | %d | %d | %s | %s |\n", k.name, e.hits, e.wentOn, spread(e.deaths), spread(e.takeover))
		}
	}
	return b.String()
}

// spread is the median and the most.
func spread(d []time.Duration) string {
	if len(d) == 0 {
		return ""
	}
	slices.Sort(d)
	return fmt.Sprintf("%s, %s", rounded(d[len(d)/2]), rounded(d[len(d)-1]))
}

// rounded has as many digits as tell something.
func rounded(d time.Duration) string {
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// timeline is what was done to whom, and when, as the history of beats counts.
func (c *chaos) timeline() string {
	var b strings.Builder
	all := c.history.inOrder()
	for _, f := range c.trial.faults {
		if len(all) > 0 && f.kind != wallStepped {
			first := all[0].first
			fmt.Fprintf(&b, "%v to %v: %s, of %v, leader's token %d\n",
				f.from.since(first), f.to.since(first), f.kind, f.hits, f.leader)
		}
	}
	return b.String()
}
