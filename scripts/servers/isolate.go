package servers

import (
	"errors"
	"fmt"
)

// Isolate cuts the node off from all others, in both directions, by losing packets:
// nothing is refused and no connection ends. Clients on this host still reach it. It
// takes a cluster whose nodes are Hosts.
func (c *cluster) Isolate(node int) error {
	return errors.Join(c.IsolateIn(node), c.IsolateOut(node))
}

// IsolateIn loses only what the others send to the node.
func (c *cluster) IsolateIn(node int) error { return c.cut(node, dropPeersIn) }

// IsolateOut loses only what the node sends to the others.
func (c *cluster) IsolateOut(node int) error { return c.cut(node, dropPeersOut) }

// Rejoin undoes them all. It does not wait until the node has caught up.
func (c *cluster) Rejoin(node int) error {
	n := c.nodes[node]
	if n.ns == nil {
		return c.noHosts(node)
	}
	c.mu.Lock()
	n.isolated = false
	c.mu.Unlock()
	if err := n.ns.Heal(); err != nil {
		return err
	}
	return c.store.rejoined(n)
}

func dropPeersIn(n *Netns) []string {
	return []string{"-A", "INPUT", "-i", "eth0", "!", "-s", n.root, "-j", "DROP"}
}

func dropPeersOut(n *Netns) []string {
	return []string{"-A", "OUTPUT", "-o", "eth0", "!", "-d", n.root, "-j", "DROP"}
}

func (c *cluster) cut(node int, rule func(*Netns) []string) error {
	n := c.nodes[node]
	if n.ns == nil {
		return c.noHosts(node)
	}
	// Said first: who asks for the leader meanwhile must not get this one.
	c.mu.Lock()
	n.isolated = true
	c.mu.Unlock()
	return n.ns.iptables(rule(n.ns)...)
}

func (c *cluster) noHosts(node int) error {
	return fmt.Errorf("cut off %s %d: it is no host of its own, Hosts is not set", c.name, node)
}
