//go:build linux

package e2e

import (
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/scripts/servers"
)

const (
	zkUser, zkPassword = "leader", "right-s3cret"
	zkTick             = time.Second // a session lasts two ticks at least, and twenty at most
)

func zkOptions(o serverOptions) servers.ZooKeeperOptions {
	z := servers.ZooKeeperOptions{Nodes: o.nodes, Host: o.host, Hosts: o.hosts, Disk: o.disk, TLS: o.tls, ServerCert: o.cert, Tick: o.tick}
	z.Fast = true // as for etcd
	if z.Tick == 0 {
		z.Tick = zkTick
	}
	if o.alert {
		z.Conf = append(z.Conf, "syncLimit=2")
	}
	if o.secured {
		z.User, z.Password = zkUser, zkPassword
	}
	return z
}

var zkKind = &kind{
	name: "zk", program: "zookeeper",
	start: starter(servers.StartZooKeeper, zkOptions), run: runner(servers.RunZooKeeper, zkOptions),
	access: access{
		flag: "--password-file", flags: []string{"--user", zkUser}, hint: "--user",
		secret: func(*store) string { return zkPassword },
		wrong:  func(*store) string { return "wrong-s3cret" },
	},
	breakages: []breakage{
		{"session closed", func(e *election) { e.store.closeSession(e.zkSession()) }},
		{"lock node deleted", func(e *election) { e.zkAdmin(func(c *zk.Conn) error { return c.Delete(e.zkNode(c), -1) }) }},
	},
	left: zkLeft, renewal: zkRenewal, asker: newZKAsker,
	shortest: 2400 * time.Millisecond, // see lock.NewRelayedTiming
	// An answer proves the renewal before the last one, so that about half of the
	// lease is for what is not renewing.
	lease: func(d time.Duration) time.Duration { return 2 * d },
	// It counts in whole ticks.
	outlives: func(ttl time.Duration) time.Duration { return ttl + zkTick },
}

// zkAdmin does something that only an administrator may.
func (e *election) zkAdmin(do func(c *zk.Conn) error) {
	e.t.Helper()
	c, err := e.store.server.(*servers.ZooKeeper).Admin()
	must(e.t, err)
	defer c.Close()
	must(e.t, do(c))
}

func (e *election) zkQueue() string { return "/leaderrun/" + e.name + "/queue" }

// zkNode returns the path of the leader's node: the one with the least number.
func (e *election) zkNode(c *zk.Conn) string {
	e.t.Helper()
	queue := e.zkQueue()
	nodes, _, err := c.Children(queue)
	must(e.t, err)
	if len(nodes) == 0 {
		e.t.Fatal("no node in the queue")
	}
	return queue + "/" + zkFirst(nodes)
}

// zkFirst returns the node with the least number.
func zkFirst(nodes []string) string {
	number := func(node string) string { return node[strings.LastIndexByte(node, '-')+1:] }
	return slices.MinFunc(nodes, func(a, b string) int { return strings.Compare(number(a), number(b)) })
}

// zkSession returns the id of the leader's session.
func (e *election) zkSession() (id int64) {
	e.t.Helper()
	e.zkAdmin(func(c *zk.Conn) error {
		_, stat, err := c.Get(e.zkNode(c))
		id = stat.EphemeralOwner
		return err
	})
	return id
}

// zkRenewal watches the number of writes on the leader's node. Two make a renewal,
// but the first is answered when there is a second.
func zkRenewal(e *election) func() {
	e.t.Helper()
	c, err := e.store.server.(*servers.ZooKeeper).Admin()
	must(e.t, err)
	e.t.Cleanup(c.Close)
	node := e.zkNode(c)
	version := func() int32 {
		_, stat, err := c.Exists(node)
		must(e.t, err)
		return stat.Version
	}
	before := version()
	return func() {
		// It may have died in its sleep, and there be none.
		poll(5*time.Second, func() bool { return version() >= before+2 })
		before = version()
	}
}
