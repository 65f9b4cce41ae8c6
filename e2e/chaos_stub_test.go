//go:build linux

package e2e

import "fmt"

type verdict struct {
	breaches []error
	said     []error
}

func judge(tr *trial) verdict {
	var v verdict
	for _, l := range tr.losses {
		needed := false
		for _, f := range tr.faults {
			if f.mayEnd && f.from <= l.at && l.at <= f.to.add(tr.ttl+tr.ttl/50+250e6) {
				if len(f.hits) == 0 || f.hits[0] == l.candidate {
					needed = true
				}
			}
		}
		if !needed {
			v.breaches = append(v.breaches, fmt.Errorf("needless: %+v at %v", l, l.at.since(tr.began)))
		}
	}
	all := tr.history.inOrder()
	for i, n := range all {
		for _, before := range all[:i] {
			if before.last >= n.first {
				said := false
				for _, f := range tr.faults {
					said = said || f.said && f.leader == before.token
				}
				err := fmt.Errorf("token %d overlaps %d by %v at %v", n.token, before.token, before.last.since(n.first), n.first.since(tr.began))
				if said {
					v.said = append(v.said, err)
				} else {
					v.breaches = append(v.breaches, err)
				}
			}
		}
	}
	for _, p := range tr.left {
		v.breaches = append(v.breaches, fmt.Errorf("left %+v", p))
	}
	return v
}

func (v verdict) String() string {
	return fmt.Sprintf("breaches %v\nsaid %v\n", v.breaches, v.said)
}

type holdWatcher struct{}

func watchHolds(*election) *holdWatcher { return nil }
func (*holdWatcher) stop() []hold       { return nil }

type guardWatcher struct{}

func watchGuards(*election) *guardWatcher        { return nil }
func (*guardWatcher) stop() map[uint64]guardSeen { return nil }
