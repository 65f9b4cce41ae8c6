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
// still have a majority, let the standby lead.
//
// Its supervisor may have slept for most of its lease just before. On waking it
// renews, and is answered, but who counts the lease's time may have heard of that
// no more: a follower of ZooKeeper tells it with the leader's next ping.
func TestNodeCutOffWithLeader(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		t.Parallel()
		for _, m := range members {
			for name, cut := range map[string]func(e *election, a *candidate, cut func(), ttl time.Duration){
				"awake": func(_ *election, _ *candidate, cut func(), _ time.Duration) { cut() },
				"asleep": func(e *election, a *candidate, cut func(), ttl time.Duration) {
					freeze(e.t, a.pid)
					pass(ttl/4 + rand.N(ttl/2))
					cut()
					kill(e.t, unix.SIGCONT, a.pid)
				},
				"just awake": func(e *election, a *candidate, cut func(), ttl time.Duration) {
					renewal := e.store.renewal(e)
					renewal()
					freeze(e.t, a.pid)
					// After two thirds of its time-out go-zookeeper would connect
					// anew, which the one who counts hears of at once.
					pass(ttl * 6 / 10)
					kill(e.t, unix.SIGCONT, a.pid)
					renewal()
					cut()
				},
			} {
				t.Run(m.name+", "+name, func(t *testing.T) {
					// The longer the tick, the longer it is until a ping tells of a renewal.
					tick := map[string]time.Duration{"follower": 2 * time.Second}[m.name]
					s := own(t, k, serverOptions{nodes: 3, hosts: true, tick: tick})
					ttl := k.lease(5 * time.Second)
					e := newElection(t, s)
					node := m.pick(s)
					a, b, first := e.pair(
						spec{ttl: ttl, store: s.at(s.Endpoints()[node]), command: e.wild()},
						spec{ttl: ttl, store: s.at(s.others(node)...), command: e.wild()}, everyRole...)
					renewed(ttl)
					cut(e, a, func() { must(t, s.Isolate(node)) }, ttl)
					e.diedInTime(first, now(), ttl)
					// A new leader is elected after five ticks, and gives each session
					// its whole time anew.
					waitFor(t, "b to lead", 2*patient, func() bool { return e.of(b) != nil })
					e.handedOver(first, e.leads(b, first, everyRole...), 2*patient)
					a.campaignsAgain(t, patient)
				})
			}
		}
	})
}
