package servers

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// EtcdOptions says which etcd to start. The zero value is one node on loopback,
// without TLS and without users.
type EtcdOptions struct {
	Nodes int    // 1 if not set
	Host  string // the address that clients reach it at: 127.0.0.1 if not set
	Hosts bool   // each node is a host of its own: see Isolate; Host stays unset
	Dir   string // for data, logs and certificates, without an earlier cluster's: a temporary one if not set
	Disk  int    // MiB of a small disk of its own for each node's data: see FillDisk; none if not set

	TLS            bool       // clients must speak it, and show a certificate of the same authority
	ServerCert     ServerCert // what is wrong with their own; nothing if not set
	User, Password string     // if set, nobody else may do anything

	Fast bool     // do not sync to disk: never where time is measured
	Args []string // further flags for etcd, the last word: "--auth-token-ttl=2"

	detached bool // outlives this process: see detached.go
}

// Etcd is a running cluster. Nodes are counted from 0. Its methods are safe for
// concurrent use.
type Etcd struct {
	*cluster
	o EtcdOptions
}

// A node's ports, by index.
const (
	etcdClient = iota
	etcdPeer
)

// StartEtcd installs etcd if need be, starts it and waits until it serves. It
// ends with the test; if that failed, the end of each node's log is in its output.
func StartEtcd(t testing.TB, o EtcdOptions) *Etcd {
	t.Helper()
	return startForTest(t, "etcd", o.Hosts, func(ctx context.Context) (*Etcd, error) { return RunEtcd(ctx, o) })
}

// RunEtcd is StartEtcd for programs. ctx bounds the start, not the life.
func RunEtcd(ctx context.Context, o EtcdOptions) (*Etcd, error) {
	e := &Etcd{o: o}
	e.cluster = newCluster(e, shape{
		name: "etcd", nodes: o.Nodes, ports: []int{2379, 2380},
		host: o.Host, hosts: o.Hosts, dir: o.Dir, disk: o.Disk, detached: o.detached,
	})
	if err := e.run(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Etcd) layOut() error {
	bin, err := Bin("etcd")
	if err != nil {
		return err
	}
	if e.o.TLS {
		if err := e.makeCerts(e.o.User, e.o.ServerCert); err != nil {
			return err
		}
	}
	var members []string
	for _, n := range e.nodes {
		members = append(members, n.name+"=http://"+n.peerAt(etcdPeer))
	}
	for _, n := range e.nodes {
		n.command = append([]string{bin}, e.args(n, strings.Join(members, ","))...)
	}
	return nil
}

// args is the node's command line. Heartbeat and election time-out are etcd's
// defaults (100 ms, 1 s), though shorter ones would start faster: they decide the
// smallest lease (1.5 election time-outs) and how long a leader change takes, and
// both are to be as users have them.
func (e *Etcd) args(n *node, members string) []string {
	client, peer := e.scheme()+"://"+n.addr, "http://"+n.peerAt(etcdPeer)
	args := []string{
		"--name=" + n.name,
		"--data-dir=" + n.data,
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + members,
		"--initial-cluster-token=" + filepath.Base(e.dir),
	}
	if e.o.TLS {
		args = append(args, "--client-cert-auth", "--trusted-ca-file="+e.certs.ca,
			"--cert-file="+e.certs.serverCert, "--key-file="+e.certs.serverKey)
	}
	if e.o.Fast {
		args = append(args, "--unsafe-no-fsync")
	}
	return append(args, e.o.Args...)
}

func (e *Etcd) scheme() string { return e.certs.scheme() }

// URL returns what `leaderrun --store` takes.
func (e *Etcd) URL() string { return e.url("etcd") }
