//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// A server is a running etcd, Consul or ZooKeeper: a cluster of one or three nodes.
type server interface {
	Endpoints() []string
	URL() string
	Kill(node int) error
	Restart(node int) error
	Pause(node int) error
	Resume(node int) error
	Leader() (int, error)
	Isolate(node int) error
	Rejoin(node int) error
	CA() string
	ClientCert() string
	ClientKey() string
	NewClientCert(certFile, keyFile string, life time.Duration) error
	Stop() error
}

// serverOptions is what the options of all servers have in common.
type serverOptions struct {
	nodes   int
	agents  int           // of Consul, beside its servers
	host    string        // where clients reach them
	hosts   bool          // each node can be cut off from the others
	tick    time.Duration // ZooKeeper's; zkTick if not set
	alert   bool          // ZooKeeper's nodes miss each other after two ticks, not after five
	disk    int           // MiB of a disk of its own for each node; none if not set
	tls     bool
	cert    servers.ServerCert // what is wrong with the servers' own
	secured bool               // only who shows the kind's credentials may do anything
}

// A kind is what sets one store apart from the others.
type kind struct {
	name    string // the scheme of its URLs
	program string // what servers.Require calls it; "" for files

	start func(t testing.TB, o serverOptions) server
	run   func(ctx context.Context, o serverOptions) (server, error)

	breakages []breakage
	access    access
	left      func(e *election) []string // see TestNothingIsLeft
	// renewal returns a function that returns when the leader has renewed since it
	// was last called, or, where nobody can see that, in a tenth of a second.
	renewal func(e *election) func()
	asker   func(e *election) asker // who holds the lock

	shortest time.Duration // the least --ttl
	// lease is the shortest --ttl with which holds what a test says of one of d:
	// that so much time is there for a deadline, an outage, a grace.
	lease func(d time.Duration) time.Duration
	// outlives is how long after its last renewal a lease is gone at the latest.
	outlives func(ttl time.Duration) time.Duration
}

// starter and runner make of a package servers' function what all kinds have.
func starter[O any, S server](start func(testing.TB, O) S, options func(serverOptions) O) func(testing.TB, serverOptions) server {
	return func(t testing.TB, o serverOptions) server {
		t.Helper()
		return start(t, options(o))
	}
}

func runner[O any, S server](run func(context.Context, O) (S, error), options func(serverOptions) O) func(context.Context, serverOptions) (server, error) {
	return func(ctx context.Context, o serverOptions) (server, error) { return run(ctx, options(o)) }
}

func unseenRenewal(*election) func() { return func() { pass(100 * time.Millisecond) } }

func same(d time.Duration) time.Duration { return d }

// fileKind's locks are freed by the kernel. Its lease is what the guard is given,
// and ends with the guard.
var fileKind = &kind{name: "file", lease: same, outlives: same, asker: newFileAsker, breakages: []breakage{
	{"lock file deleted", func(e *election) { must(e.t, os.Remove(e.lockFile())) }},
	{"lock file replaced", func(e *election) {
		must(e.t, os.WriteFile(e.lockFile()+".new", nil, 0o600))
		must(e.t, os.Rename(e.lockFile()+".new", e.lockFile()))
	}},
}}

func (e *election) lockFile() string { return filepath.Join(e.store.dir, e.name+".lock") }

// networkKinds are the stores that are reached over a network.
var networkKinds = []*kind{etcdKind, consulKind, zkKind}

// littleGrace leaves nearly all of a lease to an outage that a child is to survive
// without being told to stop.
var littleGrace = []string{"--loss-grace", "500ms"}

// A breakage takes the lock from its holder behind its back.
type breakage struct {
	name string
	do   func(e *election)
}

// A store is where one test's candidates meet.
type store struct {
	*kind
	t     *testing.T // the test, or the subtest for this store
	url   string
	flags []string // more flags of leaderrun
	dir   string   // of a file store
	server
}

// in is the same place for a part of the test.
func (s *store) in(t *testing.T) *store {
	t.Helper()
	part := *s
	part.t = t
	return &part
}

func (s *store) isFile() bool { return s.kind == fileKind }

// Settling is what a winner waits for a predecessor that did not release.
const settling = 2 * time.Second

// takeover is how long after the holder was lost another leads at the latest.
func (s *store) takeover(ttl time.Duration) time.Duration {
	return s.outlives(ttl) + settling + prompt
}

// at is the URL of these endpoints of the store alone.
func (s *store) at(endpoints ...string) string {
	return s.name + "://" + strings.Join(endpoints, ",") + "/leaderrun"
}

// eachStore runs one test body per store, each a subtest whose T is the store's.
func eachStore(t *testing.T, run func(s *store)) {
	t.Helper()
	t.Run("file", func(t *testing.T) { run(fileStore(t)) })
	eachNetworkStore(t, func(n network) { run(shared(n.t, n.kind)) })
}

// A network is a kind of server and the subtest that is about it.
type network struct {
	*kind
	t *testing.T
}

// eachNetworkStore runs one test body per kind of server.
func eachNetworkStore(t *testing.T, run func(n network)) {
	t.Helper()
	for _, k := range networkKinds {
		t.Run(k.name, func(t *testing.T) { run(network{k, t}) })
	}
}

func fileStore(t *testing.T) *store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	return &store{kind: fileKind, t: t, url: (&url.URL{Scheme: "file", Path: dir}).String(), dir: dir}
}

// own is for tests that break the server, or need one of a certain kind.
func own(t *testing.T, k *kind, o serverOptions) *store {
	t.Helper()
	s := k.start(t, o)
	return &store{kind: k, t: t, url: s.URL(), server: s}
}

// A sharedServer is for all tests that leave it alone; each has an election of its
// own there. It is started by the first.
type sharedServer struct {
	once   sync.Once
	server server
	err    error
}

var sharedServers = map[*kind]*sharedServer{etcdKind: {}, consulKind: {}, zkKind: {}}

func shared(t *testing.T, k *kind) *store {
	t.Helper()
	servers.Require(t, k.program)
	s := sharedServers[k]
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.server, s.err = k.run(ctx, serverOptions{})
	})
	must(t, s.err)
	return &store{kind: k, t: t, url: s.server.URL(), server: s.server}
}

func stopShared() error {
	for k, s := range sharedServers {
		if s.server == nil {
			continue
		}
		if err := s.server.Stop(); err != nil {
			return fmt.Errorf("stop %s: %w", k.program, err)
		}
	}
	return nil
}
