package servers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ZooKeeperOptions says which ZooKeeper to start. The zero value is one server on
// loopback, without TLS and without users.
type ZooKeeperOptions struct {
	Nodes int    // 1 if not set: a standalone server then, not an ensemble
	Host  string // the address that clients reach it at: 127.0.0.1 if not set
	Hosts bool   // each node is a host of its own: see Isolate; Host stays unset
	Dir   string // for data, logs and certificates, without an earlier cluster's: a temporary one if not set
	Disk  int    // MiB of a small disk of its own for each node's data: see FillDisk; none if not set

	TLS            bool       // clients must speak it, and show a certificate of the same authority
	ServerCert     ServerCert // what is wrong with their own; nothing if not set
	User, Password string     // if set, nobody else may do anything below "/": scheme digest

	Tick time.Duration // the unit of all its times; 2 s if not set, as in ZooKeeper's example
	Fast bool          // do not sync to disk: never where time is measured
	Conf []string      // further lines for zoo.cfg, the last word: "maxSessionTimeout=60000"

	detached bool // outlives this process: see detached.go
}

// ZooKeeper is a running ensemble. Nodes are counted from 0. Its methods are safe
// for concurrent use.
type ZooKeeper struct {
	*cluster
	o     ZooKeeperOptions
	super string // the password of the user who may do everything
}

// A node's ports, by index.
const (
	zkClient = iota
	zkQuorum
	zkElection
)

// StartZooKeeper starts ZooKeeper and waits until it serves. It ends with the
// test; if that failed, the end of each node's log is in its output.
func StartZooKeeper(t testing.TB, o ZooKeeperOptions) *ZooKeeper {
	t.Helper()
	return startForTest(t, "zookeeper", o.Hosts, func(ctx context.Context) (*ZooKeeper, error) { return RunZooKeeper(ctx, o) })
}

// RunZooKeeper is StartZooKeeper for programs. ctx bounds the start, not the life.
func RunZooKeeper(ctx context.Context, o ZooKeeperOptions) (*ZooKeeper, error) {
	z := &ZooKeeper{o: o, super: newUUID()}
	z.cluster = newCluster(z, shape{
		name: "zookeeper", nodes: o.Nodes, ports: []int{2181, 2888, 3888}, host: o.Host, hosts: o.Hosts, dir: o.Dir, disk: o.Disk, detached: o.detached,
	})
	if err := z.run(ctx); err != nil {
		return nil, err
	}
	return z, nil
}

func (z *ZooKeeper) layOut() (err error) {
	if z.o.TLS {
		if err := z.makeCerts("", z.o.ServerCert); err != nil {
			return err
		}
		if err := z.certs.writeKeyStore(); err != nil {
			return err
		}
	}
	for i, n := range z.nodes {
		id := strconv.Itoa(i + 1)
		if err := os.WriteFile(filepath.Join(n.data, "myid"), []byte(id), 0o600); err != nil {
			return err
		}
		file := n.data + ".cfg"
		conf := strings.Join(z.config(n), "\n") + "\n"
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			return err
		}
		n.command = append(java(), "org.apache.zookeeper.server.quorum.QuorumPeerMain", file)
	}
	return nil
}

// config is zoo.cfg. initLimit and syncLimit are those of ZooKeeper's example, which
// distributions ship; what is not named has its default.
func (z *ZooKeeper) config(n *node) []string {
	tick := z.o.Tick
	if tick == 0 {
		tick = 2 * time.Second
	}
	conf := []string{
		fmt.Sprintf("tickTime=%d", tick.Milliseconds()),
		"initLimit=10",
		"syncLimit=5",
		"dataDir=" + n.data,
		"admin.enableServer=false",
		"4lw.commands.whitelist=*",
		"DigestAuthenticationProvider.superDigest=" + digest("super", z.super),
	}
	if len(z.nodes) > 1 {
		for i, peer := range z.nodes {
			conf = append(conf, fmt.Sprintf("server.%d=%s:%d:%d",
				i+1, peer.peerHost, peer.ports[zkQuorum], peer.ports[zkElection]))
		}
	}
	if z.o.TLS {
		conf = append(conf,
			fmt.Sprintf("secureClientPort=%d", n.ports[zkClient]),
			"secureClientPortAddress="+n.host,
			"serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
			"ssl.clientAuth=need",
			"ssl.keyStore.type=PEM", "ssl.keyStore.location="+z.certs.keyStore(),
			"ssl.trustStore.type=PEM", "ssl.trustStore.location="+z.certs.ca,
		)
	} else {
		conf = append(conf, fmt.Sprintf("clientPort=%d", n.ports[zkClient]), "clientPortAddress="+n.host)
	}
	if z.o.Fast {
		conf = append(conf, "forceSync=no")
	}
	return append(conf, z.o.Conf...)
}

// URL returns what `leaderrun --store` takes.
func (z *ZooKeeper) URL() string { return z.url("zk") }
