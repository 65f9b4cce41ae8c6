//go:build linux

package e2e

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// An outage takes etcd itself away and brings it back.
type outage struct {
	name        string
	begin, over func(*servers.Etcd) error
}

var outages = []outage{
	{
		"killed",
		func(e *servers.Etcd) error { return e.Kill(0) },
		func(e *servers.Etcd) error { return e.Restart(0) },
	},
	{
		"frozen",
		func(e *servers.Etcd) error { return e.Pause(0) },
		func(e *servers.Etcd) error { return e.Resume(0) },
	},
}

// etcd is killed and started again, or hangs, for less than the TTL: the same
// child goes on, and the election works as before.
func TestEtcdAwayBriefly(t *testing.T) {
	t.Parallel()
	const ttl = 6 * time.Second
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			e := newElection(t, ownEtcd(t, servers.EtcdOptions{}))
			a, b, first := e.pair(spec{ttl: ttl, command: e.tame()}, spec{ttl: ttl})
			must(t, o.begin(e.store.etcd))
			pass(ttl / 4)
			must(t, o.over(e.store.etcd))
			e.goesOn(first, ttl+time.Second)
			b.standsBehind(t, "a", patient)
			a.signal(t, unix.SIGTERM)
			e.handedOver(first, e.leads(b, first), ttl/2)
		})
	}
}

// etcd is away for longer than the TTL: the tree dies at the deadline, nobody
// exits, and once etcd is back somebody leads.
func TestEtcdAwayTooLong(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			e := newElection(t, ownEtcd(t, servers.EtcdOptions{}))
			a, b, first := e.pair(spec{ttl: ttl, command: e.wild()}, spec{ttl: ttl, command: e.wild()}, everyRole...)
			renewed(ttl)
			must(t, o.begin(e.store.etcd))
			fault := now()
			e.diedInTime(first, fault, ttl)
			pass(ttl)
			must(t, o.over(e.store.etcd))
			_, second := e.next(first, a, b)
			e.handedOver(first, second, patient)
			if a.ended() || b.ended() {
				t.Error("a candidate has ended")
			}
		})
	}
}

// The leader among three nodes is killed: the same child goes on.
func TestEtcdLeaderKilled(t *testing.T) {
	t.Parallel()
	const ttl = 6 * time.Second
	e := newElection(t, ownEtcd(t, servers.EtcdOptions{Nodes: 3}))
	a, b, first := e.pair(spec{ttl: ttl, command: e.tame()}, spec{ttl: ttl})
	node, err := e.store.etcd.Leader()
	if err != nil {
		t.Fatal(err)
	}
	must(t, e.store.etcd.Kill(node))
	e.goesOn(first, ttl+time.Second)
	a.signal(t, unix.SIGTERM)
	e.handedOver(first, e.leads(b, first), ttl/2)
}
