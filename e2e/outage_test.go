//go:build linux

package e2e

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An outage takes the store itself away and brings it back.
type outage struct {
	name        string
	begin, over func(server) error
}

var outages = []outage{
	{
		"killed",
		func(s server) error { return s.Kill(0) },
		func(s server) error { return s.Restart(0) },
	},
	{
		"frozen",
		func(s server) error { return s.Pause(0) },
		func(s server) error { return s.Resume(0) },
	},
}

// The store is killed and started again, or hangs, for less than the TTL: the same
// child goes on, and the election works as before.
func TestStoreAwayBriefly(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		s := own(t, k, serverOptions{})
		ttl := k.lease(8 * time.Second)
		for _, o := range outages {
			t.Run(o.name, func(t *testing.T) {
				e := newElection(t, s.in(t))
				a, b, first := e.pair(spec{ttl: ttl, flags: littleGrace, command: e.tame()}, spec{ttl: ttl})
				must(t, o.begin(s))
				pass(1500 * time.Millisecond)
				must(t, o.over(s))
				e.goesOn(first, ttl+time.Second)
				b.standsBehind(t, "a", patient)
				a.signal(t, unix.SIGTERM)
				e.handedOver(first, e.leads(b, first), 3*time.Second)
			})
		}
	})
}

// The store is away for longer than the TTL: the tree dies at the deadline, nobody
// exits, and once the store is back somebody leads.
func TestStoreAwayTooLong(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		s := own(t, k, serverOptions{})
		for _, o := range outages {
			t.Run(o.name, func(t *testing.T) {
				e := newElection(t, s.in(t))
				a, b, first := e.pair(spec{ttl: ttl, command: e.wild()}, spec{ttl: ttl, command: e.wild()}, everyRole...)
				renewed(ttl)
				must(t, o.begin(s))
				fault := now()
				e.diedInTime(first, fault, ttl)
				pass(ttl)
				must(t, o.over(s))
				_, second := e.next(first, a, b)
				e.handedOver(first, second, patient)
				if a.ended() || b.ended() {
					t.Error("a candidate has ended")
				}
			})
		}
	})
}
