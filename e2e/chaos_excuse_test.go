//go:build linux

package e2e

import (
	"slices"
	"strings"
	"time"
)

// margin is how long after a guard's deadline the lease may be another's: see
// lock/timing.go.
func (tr *trial) margin() time.Duration { return max(250*time.Millisecond, tr.ttl/50) }

// reaches tells whether a fault was done to that candidate, by itself or with all.
func (f *fault) reaches(candidate string) bool {
	return len(f.hits) == 0 || slices.Contains(f.hits, candidate)
}

// during tells whether a fault was on at some time from one instant to the other.
func (f *fault) during(from, to instant) bool { return f.from <= to && f.to >= from }

// hit tells whether a fault was done to that tenure.
func (f *fault) hit(n *tenure) bool {
	if f.leader != 0 {
		return f.leader == n.token
	}
	return slices.Contains(f.hits, n.candidates[0]) && f.during(n.first, n.last)
}

// limit returns what a tenure fell under that no leaderrun can help, nil if nothing.
func (tr *trial) limit(n *tenure) *fault {
	for i := range tr.faults {
		f := &tr.faults[i]
		if f.said && f.hit(n) {
			return f
		}
	}
	taken := tr.taken(n)
	if taken == nil {
		return nil
	}
	// From a holder that was frozen or cut off, though by two faults that met by chance.
	for i := range tr.faults {
		f := &tr.faults[i]
		if f != taken && f.during(taken.from, taken.to) && (f.blocks || slices.Contains(f.hits, n.candidates[0])) {
			return taken
		}
	}
	return nil
}

// taken returns the fault that took the lock from the tenure by hand, nil if none did.
func (tr *trial) taken(n *tenure) *fault {
	for i := range tr.faults {
		if f := &tr.faults[i]; takes(f.kind) && f.hit(n) {
			return f
		}
	}
	return nil
}

// takes tells of a fault that it is a breakage, perhaps together with another.
func takes(what string) bool {
	for _, k := range append([]*kind{fileKind}, networkKinds...) {
		if slices.ContainsFunc(k.breakages, func(b breakage) bool { return strings.Contains(what, b.name) }) {
			return true
		}
	}
	return false
}

// vacancies looks at the times without a leader.
func (v *verdict) vacancies(tr *trial) {
	since := tr.began
	end := func(n *tenure) instant {
		if tr.limit(n) != nil && n.roles["main"] != 0 {
			return n.roles["main"] // what it left behind leads nothing
		}
		return n.last
	}
	look := func(next instant) {
		gap := next.since(since)
		v.vacancy = max(v.vacancy, gap)
		if limit := tr.leaderBy(since); next > limit {
			v.breach("nobody led for %v, from %v after the beginning on: %v longer than it may be",
				gap, since.since(tr.began), next.since(limit))
		}
	}
	for _, n := range tr.history.inOrder() {
		look(n.first)
		since = max(since, end(n))
	}
	look(tr.ended)
}

// leaderBy is when there has to be a leader again that there was none since. What is
// done to candidates or store meanwhile puts that off.
func (tr *trial) leaderBy(since instant) instant {
	enough := tr.outlives + settling + prompt
	limit := since.add(enough)
	for _, f := range tr.faults {
		switch {
		case f.to < since || f.from > limit:
		case f.blocks || len(f.hits) == 0:
			limit = max(limit, f.to.add(enough))
		case f.mayEnd:
			// One that hears no answers renews its place until its own deadline.
			limit = max(limit, min(f.to, f.from.add(tr.ttl)).add(enough))
		default:
			limit = limit.add(f.to.since(max(f.from, since)))
		}
	}
	return limit
}
