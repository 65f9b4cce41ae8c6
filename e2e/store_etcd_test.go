//go:build linux

package e2e

import (
	"path/filepath"
	"strings"
	"time"

	"leaderrun/scripts/servers"
)

const (
	etcdUser, etcdPassword = "leader", "right-s3cret"
)

func etcdOptions(o serverOptions) servers.EtcdOptions {
	e := servers.EtcdOptions{Nodes: o.nodes, Host: o.host, Hosts: o.hosts, Disk: o.disk, TLS: o.tls, ServerCert: o.cert}
	e.Fast = true // its fsync would stall the beats, which are on the same disk
	if o.secured {
		e.User, e.Password = etcdUser, etcdPassword
	}
	return e
}

var etcdKind = &kind{
	name: "etcd", program: "etcd",
	start: starter(servers.StartEtcd, etcdOptions), run: runner(servers.RunEtcd, etcdOptions),
	access: access{
		flag: "--password-file", flags: []string{"--user", etcdUser}, hint: "--user",
		secret: func(*store) string { return etcdPassword },
		wrong:  func(*store) string { return "wrong-s3cret" },
	},
	breakages: []breakage{
		{"lease revoked", func(e *election) { e.store.etcdctl("lease", "revoke", filepath.Base(e.etcdKey())) }},
		{"lock key deleted", func(e *election) { e.store.etcdctl("del", e.etcdKey()) }},
	},
	left: etcdLeft, renewal: unseenRenewal, asker: etcdAsker,
	shortest: 2 * time.Second,
	lease:    same,
	// It looks for leases that have run out twice a second.
	outlives: func(ttl time.Duration) time.Duration { return ttl + time.Second },
}

func (s *store) etcdctl(args ...string) string {
	s.t.Helper()
	var out string
	var err error
	poll(patient, func() bool { // a cluster may be without a leader, or slow
		out, err = s.server.(*servers.Etcd).Ctl(args...)
		return err == nil
	})
	must(s.t, err)
	return strings.TrimSpace(out)
}

// etcdKey returns the key of the leader: the oldest of the queue.
func (e *election) etcdKey() string {
	e.t.Helper()
	key := e.store.etcdctl("get", "/leaderrun/"+e.name+"/queue/", "--prefix", "--keys-only",
		"--sort-by=CREATE", "--order=ASCEND", "--limit=1")
	if key == "" {
		e.t.Fatal("no key in the queue")
	}
	return key
}
