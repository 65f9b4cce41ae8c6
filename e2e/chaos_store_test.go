//go:build linux

package e2e

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// nodeFaults are those of the store's cluster. What hits one node of three is to be
// survived.
var nodeFaults = []*faultKind{
	{name: "node killed", weight: 2, class: onStore, harmless: true, acts: nodeKilled},
	{name: "node restarted", weight: 1, class: onStore, harmless: true, acts: nodeRestarted},
	// An etcd that led, was stopped and goes on may revoke, before it hears that another
	// leads, the leases that were renewed there (isActive in etcdserver/server.go).
	{name: "node paused", weight: 2, class: onStore, harmless: true, harms: etcdKind, acts: nodePaused},
	{name: "node cut off", weight: 2, class: onStore, harmless: true, acts: nodeCutOff},
	{name: "node stutters", weight: 1, class: onStore, harmless: true, acts: nodeStutters},
	{name: "disk of a node full", weight: 1, class: onStore, harmless: true, acts: diskFull},
	{name: "leader of the store moved", weight: 2, class: onStore, harmless: true, acts: leaderMoved},
	{name: "store down", weight: 1, class: onStore, blocks: true, acts: storeDown},
	{name: "store paused", weight: 1, class: onStore, blocks: true, acts: storePaused},
	{name: "disks of the store full", weight: 1, class: onStore, blocks: true, acts: disksFull},
}

// A breaker is what only a cluster in a test can do.
type breaker interface {
	server
	Pid(node int) int
	FillDisk(node int) error
	FreeDisk(node int) error
}

func (c *chaos) cluster() breaker { return c.store.server.(breaker) }

// someNode is the one that the plan says, or, half of the time, the cluster's leader.
func (c *chaos) someNode(s step) int {
	if s.detail < 0.5 {
		if leader, err := c.store.Leader(); err == nil {
			return leader
		}
	}
	return s.node
}

func nodeKilled(c *chaos, _ *place, s step) []act {
	n := c.someNode(s)
	return []act{
		{do: func() error { return c.store.Kill(n) }},
		{after: c.long(s), do: func() error { return c.store.Restart(n) }, slow: true},
	}
}

func nodeRestarted(c *chaos, _ *place, s step) []act {
	n := c.someNode(s)
	return []act{{do: func() error { return c.store.Restart(n) }, slow: true}}
}

func nodePaused(c *chaos, _ *place, s step) []act {
	n := c.someNode(s)
	return between(c.long(s), func() error { return c.store.Pause(n) }, func() error { return c.store.Resume(n) })
}

func nodeCutOff(c *chaos, _ *place, s step) []act {
	n := c.someNode(s)
	return between(c.long(s), func() error { return c.store.Isolate(n) }, func() error { return c.store.Rejoin(n) })
}

// nodeStutters is a node that collects garbage. No other takes it for dead.
func nodeStutters(c *chaos, _ *place, s step) (acts []act) {
	pid := c.cluster().Pid(c.someNode(s))
	const turn = 300 * time.Millisecond
	for at := time.Duration(0); at < c.long(s); at += turn {
		acts = append(acts, act{after: at, do: func() error { return unix.Kill(pid, unix.SIGSTOP) }},
			act{after: at + turn*2/3, do: func() error { return unix.Kill(pid, unix.SIGCONT) }})
	}
	return acts
}

// leaderMoved asks the cluster for another leader; ZooKeeper cannot be asked.
func leaderMoved(c *chaos, _ *place, s step) []act {
	var move func() error
	if mover, ok := c.store.server.(interface{ MoveLeader(node int) error }); ok {
		move = func() error { return mover.MoveLeader(s.node) }
	} else {
		leader, err := c.store.Leader()
		move = func() error { return errors.Join(err, c.store.Restart(leader)) }
	}
	return []act{{do: move, slow: true}}
}

// all does something to every node.
func (c *chaos) all(do func(node int) error) func() error {
	return func() error {
		var errs []error
		for node := range clusterNodes {
			errs = append(errs, do(node))
		}
		return errors.Join(errs...)
	}
}

func storeDown(c *chaos, _ *place, s step) []act {
	return []act{
		{do: c.all(c.store.Kill)},
		{after: c.long(s), do: c.all(c.store.Restart), slow: true},
	}
}

func storePaused(c *chaos, _ *place, s step) []act {
	return between(c.long(s), c.all(c.store.Pause), c.all(c.store.Resume))
}

// restartFreed makes room, and restarts a node that a full disk may have ended.
func (c *chaos) restartFreed(node int) error {
	return errors.Join(c.cluster().FreeDisk(node), c.store.Restart(node))
}

func diskFull(c *chaos, _ *place, s step) []act {
	n := c.someNode(s)
	return []act{
		{do: func() error { return c.cluster().FillDisk(n) }},
		{after: c.long(s), do: func() error { return c.restartFreed(n) }, slow: true},
	}
}

func disksFull(c *chaos, _ *place, s step) []act {
	return []act{
		{do: c.all(c.cluster().FillDisk)},
		{after: c.long(s), do: c.all(c.restartFreed), slow: true},
	}
}

var fileFaults = []*faultKind{
	{name: "disk of the store full", weight: 2, class: onStore, blocks: true, acts: func(c *chaos, _ *place, s step) []act {
		return between(c.long(s), c.disk.Fill, c.disk.Free)
	}},
}

// takenFaults take the lock from its holder by hand: from one that learns of it, and
// from one that cannot, being frozen or cut off, which is a limit that the README
// names.
func takenFaults(s *store) (all []*faultKind) {
	for _, b := range s.breakages {
		take := func(c *chaos) func() error {
			return func() error { b.do(c.election); return nil }
		}
		all = append(all, &faultKind{name: b.name, weight: 1, class: alone, at: leading, acts: func(c *chaos, _ *place, _ step) []act {
			return once(take(c))
		}})
		together := func(name string, away func(*chaos, *place, step) []act) {
			all = append(all, &faultKind{
				name: b.name + " of who is " + name, weight: 1, class: alone, said: true, at: leading,
				acts: func(c *chaos, p *place, s step) []act {
					acts := away(c, p, s)
					return []act{acts[0], {after: c.ttl / 10, do: take(c)}, acts[1]}
				},
			})
		}
		together("stopped", frozenFor(theSupervisor, (*chaos).long))
		if !s.isFile() {
			together("cut off", way((*servers.Proxy).Hold, (*chaos).long))
		}
	}
	return all
}

// leading is the leader, whoever else the plan would have.
func leading(c *chaos, s step) *place {
	if leader := c.leader(); leader != nil {
		return leader
	}
	return c.places[s.place]
}
