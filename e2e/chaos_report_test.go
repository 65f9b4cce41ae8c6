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
	for i, f := range c.trial.faults {
		n := c.history.tenures[f.leader]
		if n == nil || f.kind == wallStepped || c.metAnother(i) {
			continue
		}
		e := all[f.kind]
		if e == nil {
			e = &effect{}
			all[f.kind] = e
		}
		e.hits++
		if n.last >= min(c.nextFault(i), c.trial.ended)-instant(time.Second) {
			e.wentOn++
			continue
		}
		e.deaths = append(e.deaths, n.last.since(f.from))
		for _, next := range tenures {
			if next.token > n.token {
				e.takeover = append(e.takeover, next.first.since(f.from))
				break
			}
		}
	}
	return all
}

// nextFault is when the next one began; steps of the clock are none.
func (c *chaos) nextFault(i int) instant {
	for _, f := range c.trial.faults[i+1:] {
		if f.kind != wallStepped {
			return f.from
		}
	}
	return c.trial.ended
}

// metAnother tells whether a fault was on together with another.
func (c *chaos) metAnother(i int) bool {
	return slices.ContainsFunc(slices.Concat(c.trial.faults[:i], c.trial.faults[i+1:]), func(f fault) bool {
		return f.kind != wallStepped && f.from <= c.trial.faults[i].to && f.to >= c.trial.faults[i].from
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
