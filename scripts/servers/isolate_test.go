package servers

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// The leader of each store, cut off from the others, is replaced; clients here go
// on reaching it, though it can serve none; and it comes back.
func TestIsolatedLeaderIsReplaced(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (*cluster, func(*testing.T, string)){
		"etcd": func(t *testing.T) (*cluster, func(*testing.T, string)) {
			t.Helper()
			e := StartEtcd(t, EtcdOptions{Nodes: 3, Hosts: true, TLS: true})
			return e.cluster, func(t *testing.T, key string) { t.Helper(); put(t, e, key) }
		},
		"consul": func(t *testing.T) (*cluster, func(*testing.T, string)) {
			t.Helper()
			c := StartConsul(t, ConsulOptions{Nodes: 3, Hosts: true, Agents: 1, ACL: true})
			return c.cluster, func(t *testing.T, key string) { t.Helper(); putConsul(t, c, key) }
		},
		"zookeeper": func(t *testing.T) (*cluster, func(*testing.T, string)) {
			t.Helper()
			z := StartZooKeeper(t, ZooKeeperOptions{Nodes: 3, Hosts: true, Tick: 500 * time.Millisecond})
			return z.cluster, func(t *testing.T, key string) { t.Helper(); putZK(t, z, "/"+key) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, put := start(t)
			put(t, "before")
			first, err := c.Leader()
			must(t, err)
			must(t, c.Isolate(first))
			second, err := c.Leader()
			must(t, err)
			if second == first {
				t.Errorf("node %d leads, which is cut off", second)
			}
			conn, err := net.DialTimeout("tcp", c.Endpoints()[first], time.Second)
			must(t, err)
			must(t, conn.Close())
			waitFor(t, "the end of its term", func() bool { return c.store.healthy(t.Context(), c.nodes[first]) != nil })
			put(t, "meanwhile")
			must(t, c.Rejoin(first))
			must(t, c.awaitHealthy(t.Context(), c.nodes[first]))
			put(t, "after")
		})
	}
}

// An isolated agent answers, but not for the servers.
func TestConsulAgentIsolated(t *testing.T) {
	c := StartConsul(t, ConsulOptions{Hosts: true, Agents: 1})
	must(t, c.IsolateAgent(0))
	agent := c.nodes[1]
	must(t, c.call(t.Context(), agent, "GET", "/v1/agent/self", nil, nil))
	if err := c.healthy(t.Context(), agent); err == nil {
		t.Error("it reaches the server")
	}
	must(t, c.RejoinAgent(0))
	must(t, c.awaitHealthy(t.Context(), agent))
}

// One direction is enough to lose a leader.
func TestZooKeeperIsolatedOneWay(t *testing.T) {
	z := StartZooKeeper(t, ZooKeeperOptions{Nodes: 3, Hosts: true, Tick: 500 * time.Millisecond})
	for name, cut := range map[string]func(int) error{"in": z.IsolateIn, "out": z.IsolateOut} {
		first, err := z.Leader()
		must(t, err)
		must(t, cut(first))
		second, err := z.Leader()
		must(t, err)
		if second == first {
			t.Errorf("%s: node %d leads, which is cut off", name, second)
		}
		must(t, z.Rejoin(first))
		must(t, z.awaitHealthy(t.Context(), z.nodes[first]))
		putZK(t, z, "/"+name)
	}
}

func TestHostsAreRemoved(t *testing.T) {
	Require(t, "netns")
	Require(t, "etcd")
	e, err := RunEtcd(t.Context(), EtcdOptions{Hosts: true})
	must(t, err)
	name := e.nodes[0].ns.name
	must(t, e.Stop())
	if _, err := os.Stat("/run/netns/" + name); err == nil {
		t.Errorf("%s is left", name)
	}
}

func TestHostsAreRefused(t *testing.T) {
	Require(t, "etcd")
	e := StartEtcd(t, EtcdOptions{})
	if err := e.Isolate(0); err == nil {
		t.Error("isolated on loopback")
	}
	for want, o := range map[string]EtcdOptions{
		"Host and Hosts": {Hosts: true, Host: "127.0.0.1"},
		"left running":   {Hosts: true, Dir: t.TempDir(), detached: true},
		"13 at most":     {Hosts: true, Nodes: 14},
	} {
		_, err := RunEtcd(context.Background(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, not %q", err, want)
		}
	}
}
