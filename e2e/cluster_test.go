//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A member is what a node is in a cluster of three.
type member struct {
	name string
	pick func(s *store) int
}

var members = []member{
	{"leader", (*store).leaderNode},
	{"follower", (*store).followerNode},
}

func (s *store) leaderNode() int {
	s.t.Helper()
	node, err := s.Leader()
	must(s.t, err)
	return node
}

func (s *store) followerNode() int {
	s.t.Helper()
	return (s.leaderNode() + 1 + rand.IntN(2)) % 3
}

// others are the endpoints but for one node's.
func (s *store) others(node int) []string { return slices.Delete(s.Endpoints(), node, node+1) }

// leadsThrough starts candidates with every address, one after the other, until one
// leads that talks to the node: which they try first is left to chance.
func (e *election) leadsThrough(node int, s spec) (*candidate, *tenure) {
	e.t.Helper()
	var before *tenure
	for n := range 60 {
		s.id = fmt.Sprintf("a%d", n)
		a := e.start(s)
		first := e.leads(a, before)
		if slices.Contains(talksTo(e.t, a.pid), e.store.Endpoints()[node]) {
			return a, first
		}
		a.signal(e.t, unix.SIGTERM)
		waitFor(e.t, a.id+" to end", patient, a.ended)
		before = first
	}
	e.t.Fatalf("no candidate talks to node %d", node)
	return nil, nil
}

// autopilot is how long after its death a server of Consul's is taken out of the
// catalog, with all sessions that are tied to its node.
const autopilot = 15 * time.Second

// A node that the candidates talk to is killed, or cut off from the others while it
// still answers its clients, be it the one that leads the cluster or another: the
// same child goes on, over another node.
func TestNodeLost(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		t.Parallel()
		for _, m := range members {
			for name, lose := range map[string]func(s *store, node int) error{
				"killed":  func(s *store, node int) error { return s.Kill(node) },
				"cut off": func(s *store, node int) error { return s.Isolate(node) },
			} {
				t.Run(m.name+" "+name, func(t *testing.T) {
					s := own(t, k, serverOptions{nodes: 3, hosts: true, alert: true})
					ttl := k.lease(8 * time.Second)
					e := newElection(t, s)
					node := m.pick(s)
					a, first := e.leadsThrough(node, spec{ttl: ttl, flags: littleGrace, command: e.tame()})
					b := e.start(spec{id: "b", ttl: ttl})
					b.standsBehind(t, a.id, patient)
					must(t, lose(s, node))
					e.goesOn(first, max(ttl, autopilot)+time.Second)
					b.standsBehind(t, a.id, patient)
					a.signal(t, unix.SIGTERM)
					e.handedOver(first, e.leads(b, first), 3*time.Second)
				})
			}
		}
	})
}

// The election's leader knows one node only, which is cut off from the others while
// it goes on answering: a follower, that answers ZooKeeper's pings by itself, or a
// deposed leader, that may not know it yet. The tree is dead before the others, who
// still have a majority, let the standby lead. Its supervisor may have slept just
// before: what it believes on waking is old.
func TestNodeCutOffWithLeader(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		t.Parallel()
		ttl := max(3*time.Second, k.lease(2*time.Second))
		for _, m := range members {
			t.Run(m.name, func(t *testing.T) { cutOffWithLeader(t, k, m, ttl, 0) })
			t.Run(m.name+", asleep before", func(t *testing.T) {
				cutOffWithLeader(t, k, m, ttl, ttl/4+rand.N(ttl*7/10))
			})
		}
	})
}

func cutOffWithLeader(t *testing.T, k *kind, m member, ttl, sleep time.Duration) {
	t.Helper()
	s := own(t, k, serverOptions{nodes: 3, hosts: true})
	e := newElection(t, s)
	node := m.pick(s)
	a, b, first := e.pair(
		spec{ttl: ttl, store: s.at(s.Endpoints()[node]), command: e.wild()},
		spec{ttl: ttl, store: s.at(s.others(node)...), command: e.wild()}, everyRole...)
	renewed(ttl)
	fault := now()
	if sleep > 0 {
		t.Logf("asleep for %v", sleep)
		fault = freeze(t, a.pid)
		pass(sleep)
	}
	must(t, s.Isolate(node))
	if sleep > 0 {
		kill(t, unix.SIGCONT, a.pid)
	} else {
		fault = now()
	}
	e.diedInTime(first, fault, ttl)
	second := e.leads(b, first, everyRole...)
	e.handedOver(first, second, patient)
	a.campaignsAgain(t, patient)
}
