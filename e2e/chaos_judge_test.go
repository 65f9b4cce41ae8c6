//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// looked is how long a tenure lasts at least whose guard was certainly looked at.
	looked = time.Second
	// blind is how long a guard may go without being looked at before one reckons
	// that its deadline was moved meanwhile.
	blind = 500 * time.Millisecond
)

// A verdict is what the judge makes of a trial.
type verdict struct {
	store    string
	breaches []error
	said     []error // what a limit that the README names explains

	faults    map[string]int // by kind
	tenures   int
	deadlines int           // tenures whose guard was seen to have one
	overlap   time.Duration // the largest, but for said limits
	late      time.Duration // the latest beat after its guard's deadline; negative: before it
	vacancy   time.Duration // the longest time without a leader
	needed    int           // losses that a fault explains
	needless  int
}

// judge looks at all that a trial has recorded, and at nothing else.
func judge(tr *trial) verdict {
	v := verdict{store: tr.store, faults: map[string]int{}, tenures: len(tr.history.tenures), breaches: tr.history.disorder()}
	for _, f := range tr.faults {
		v.faults[f.kind]++
	}
	for _, o := range tr.history.overlaps() {
		if !v.put(tr.limit(o.before), o) {
			v.overlap = max(v.overlap, o.by)
		}
	}
	for _, n := range tr.history.inOrder() {
		v.deadline(tr, n)
	}
	v.holds(tr)
	v.vacancies(tr)
	v.losses(tr)
	for _, p := range tr.left {
		v.breach("left running: pid %d of %d, %s, %v", p.pid, p.ppid, p.state, p.args)
	}
	return v
}

func (v *verdict) breach(format string, args ...any) {
	v.breaches = append(v.breaches, fmt.Errorf(format, args...))
}

// put files a breach under the limit that explains it, if there is one.
func (v *verdict) put(limit *fault, err error) (said bool) {
	if limit == nil {
		v.breaches = append(v.breaches, err)
		return false
	}
	v.said = append(v.said, fmt.Errorf("%s: %w", limit.kind, err))
	return true
}

// deadline looks whether the guard had one, and the tree was dead by then.
func (v *verdict) deadline(tr *trial, n *tenure) {
	g := tr.guards[n.token]
	limit := tr.limit(n)
	if g.deadline == 0 {
		if lived := n.last.since(n.first) - tr.pauses.within(n.first, n.last); limit == nil && lived > looked && g.gap < blind {
			v.breach("token %d: the guard %d showed no deadline in %v", n.token, g.pid, lived)
		}
		return
	}
	if ahead := g.deadline.since(g.seen); ahead > tr.ttl {
		v.breach("token %d: the guard's deadline is %v ahead, with a lease of %v", n.token, ahead, tr.ttl)
	}
	late := n.last.since(g.deadline)
	if late > tr.margin() && g.gap > blind {
		late = n.last.since(max(g.deadline, g.seen.add(g.gap+tr.ttl)))
	}
	if late > tr.margin() {
		late -= tr.pauses.within(n.last.add(-late), n.last)
	}
	said := false
	if late > tr.margin() {
		said = v.put(limit, fmt.Errorf("token %d: the last beat came %v after the guard's deadline", n.token, late))
	}
	if !said {
		if v.deadlines == 0 {
			v.late = late
		}
		v.late = max(v.late, late)
		v.deadlines++
	}
}

// holds compares what the store showed with the beats.
func (v *verdict) holds(tr *trial) {
	before := hold{}
	for _, h := range tr.holds {
		if h.token == 0 {
			continue
		}
		if h.token <= before.token {
			v.breach("the store showed token %d (%s) after token %d (%s)", h.token, h.candidate, before.token, before.candidate)
		}
		before = h
		n := tr.history.tenures[h.token]
		if n == nil || h.gone == 0 || n.last <= h.gone {
			continue
		}
		after := n.last.since(h.gone)
		if tr.limit(n) == nil && tr.taken(n) != nil && after-tr.pauses.within(h.gone, n.last) <= prompt {
			continue // the next one waits for it; that is what overlaps are about
		}
		v.put(tr.limit(n), fmt.Errorf("token %d: the last beat came %v after the store had shown its lock to be gone", n.token, after))
	}
}

// losses tells those that something explains from those that should not have been. A
// tenure that ended before its child began stopped nothing.
func (v *verdict) losses(tr *trial) {
	for _, l := range tr.losses {
		if tr.history.tenures[l.token] == nil {
			continue
		}
		if slices.ContainsFunc(tr.faults, func(f fault) bool {
			return f.mayEnd && f.reaches(l.candidate) && f.from <= l.at && l.at <= f.to.add(tr.ttl+tr.margin())
		}) {
			v.needed++
			continue
		}
		v.needless++
		v.breach("needless: %s lost token %d: %s", l.candidate, l.token, l.why)
	}
}

// String is the figures, and the breaches if there are any.
func (v verdict) String() string {
	var b strings.Builder
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(v.faults)) {
		total += v.faults[kind]
		fmt.Fprintf(&b, "  %5d  %s\n", v.faults[kind], kind)
	}
	kinds := b.String()
	b.Reset()
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	fmt.Fprintf(&b, "%s: %d faults, %d tenures\n%s", v.store, total, v.tenures, kinds)
	fmt.Fprintf(&b, "largest overlap: %v\n", v.overlap)
	if v.deadlines > 0 {
		when, d := "after", round(v.late)
		if d < 0 {
			when, d = "before", -d
		}
		fmt.Fprintf(&b, "latest beat: %v %s its guard's deadline (%d deadlines seen)\n", d, when, v.deadlines)
	}
	fmt.Fprintf(&b, "longest time without a leader: %v\n", round(v.vacancy))
	fmt.Fprintf(&b, "losses: %d that a fault explains, %d needless\n", v.needed, v.needless)
	fmt.Fprintf(&b, "breaches: %d, and %d that a said limit explains\n", len(v.breaches), len(v.said))
	for _, err := range v.breaches {
		fmt.Fprintf(&b, "  BREACH %v\n", err)
	}
	for _, err := range v.said {
		fmt.Fprintf(&b, "  said   %v\n", err)
	}
	return b.String()
}
