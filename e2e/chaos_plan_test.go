//go:build linux

package e2e

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"testing"
)

// A plan is all that is random in a fault run, drawn from the seed and the store's
// name. What comes when, and whether a candidate leads by then, is up to the
// machine; that the nth fault is this one, that the nth child of a place is that
// one, is not.
type plan struct {
	seed  uint64
	store string
	deck  []*faultKind // each as often as it weighs
}

// A step is one fault as the plan has it.
type step struct {
	n        int
	kind     *faultKind
	standby  bool    // it hits who does not lead
	place    int     // of whom it hits, if nobody leads, or of several standbys
	node     int     // of the store's cluster
	length   float64 // of the longest that its kind allows, from 0 to 1
	detail   float64 // for what its kind leaves open
	rest     float64 // until the next, of the longest rest
	overlaps bool    // the next one does not wait for its end
}

func newPlan(seed uint64, s *store) *plan {
	p := &plan{seed: seed, store: s.name}
	for _, k := range faultKinds(s) {
		for range k.weight {
			p.deck = append(p.deck, k)
		}
	}
	return p
}

// rand is the source of what the words name.
func (p *plan) rand(what string, n ...int) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, p.store, what, n) // never fails
	return rand.New(rand.NewPCG(p.seed, h.Sum64()))
}

// step returns the nth fault. The deck is played out before it is shuffled again, so
// that none is forgotten for long.
func (p *plan) step(n int) step {
	round, i := n/len(p.deck), n%len(p.deck)
	r := p.rand("step", n)
	return step{
		n: n, kind: p.deck[p.rand("deck", round).Perm(len(p.deck))[i]],
		standby: r.IntN(5) == 0, place: r.IntN(places), node: r.IntN(clusterNodes),
		length: r.Float64(), detail: r.Float64(), rest: r.Float64(), overlaps: r.IntN(6) == 0,
	}
}

// child returns which one the nth candidate at a place runs.
func (p *plan) child(place, n int) childKind {
	return childKinds[p.rand("child", place, n).IntN(len(childKinds))]
}

// The same seed gives the same plan, another gives another, and each fault comes.
func TestPlanIsOfItsSeed(t *testing.T) {
	draw := func(seed uint64, s *store) (drawn []any) {
		p := newPlan(seed, s)
		for n := range 3 * len(p.deck) {
			st := p.step(n)
			drawn = append(drawn, st.kind.name, p.child(n%places, n).name)
			st.kind = nil // which is made anew for each plan
			drawn = append(drawn, st)
		}
		return drawn
	}
	for _, k := range append([]*kind{fileKind}, networkKinds...) {
		s := &store{kind: k, t: t}
		one := draw(1, s)
		if !reflect.DeepEqual(one, draw(1, s)) {
			t.Errorf("%s: two plans of one seed", k.name)
		}
		if reflect.DeepEqual(one, draw(2, s)) {
			t.Errorf("%s: one plan of two seeds", k.name)
		}
		p := newPlan(1, s)
		seen := map[string]int{}
		for n := range p.deck {
			seen[p.step(n).kind.name]++
		}
		for _, f := range faultKinds(s) {
			if seen[f.name] != f.weight {
				t.Errorf("%s: %q comes %d times in a round, want %d", k.name, f.name, seen[f.name], f.weight)
			}
		}
	}
}
