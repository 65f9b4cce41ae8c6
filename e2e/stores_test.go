//go:build linux

package e2e

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// A store is where one test's candidates meet.
type store struct {
	t     *testing.T // the test, or the subtest for this store
	url   string
	flags []string      // more flags of leaderrun
	dir   string        // of a file store
	etcd  *servers.Etcd // of an etcd
}

func (s *store) isFile() bool { return s.etcd == nil }

// eachStore runs one test body per store, each a subtest whose T is the store's.
func eachStore(t *testing.T, run func(s *store)) {
	t.Helper()
	t.Run("file", func(t *testing.T) { run(fileStore(t)) })
	t.Run("etcd", func(t *testing.T) { run(sharedEtcd(t)) })
}

func fileStore(t *testing.T) *store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	return &store{t: t, url: (&url.URL{Scheme: "file", Path: dir}).String(), dir: dir}
}

// ownEtcd is for tests that break the etcd, or need one of a certain kind.
func ownEtcd(t *testing.T, o servers.EtcdOptions) *store {
	t.Helper()
	o.Fast = true // its fsync would stall the beats, which are on the same disk
	e := servers.StartEtcd(t, o)
	return &store{t: t, url: e.URL(), etcd: e}
}

var (
	startShared = sync.OnceValues(func() (*servers.Etcd, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		e, err := servers.RunEtcd(ctx, servers.EtcdOptions{Fast: true})
		if err == nil {
			stopShared = e.Stop
		}
		return e, err
	})
	stopShared = func() error { return nil }
)

// sharedEtcd is one etcd for all tests that leave it alone; each has an election
// of its own there.
func sharedEtcd(t *testing.T) *store {
	t.Helper()
	servers.Require(t, "etcd")
	e, err := startShared()
	if err != nil {
		t.Fatal(err)
	}
	return &store{t: t, url: e.URL(), etcd: e}
}

func (s *store) ctl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := s.etcd.Ctl(args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// lockKey returns the key of the leader: the oldest of the queue.
func (e *election) lockKey() string {
	e.t.Helper()
	key := e.store.ctl(e.t, "get", "/leaderrun/"+e.name+"/queue/", "--prefix", "--keys-only",
		"--sort-by=CREATE", "--order=ASCEND", "--limit=1")
	if key == "" {
		e.t.Fatal("no key in the queue")
	}
	return key
}

// A breakage takes the lock from its holder behind its back.
type breakage struct {
	name string
	do   func(e *election)
}

func (s *store) breakages() []breakage {
	if !s.isFile() {
		return []breakage{
			{"lease revoked", func(e *election) { e.store.ctl(e.t, "lease", "revoke", filepath.Base(e.lockKey())) }},
			{"lock key deleted", func(e *election) { e.store.ctl(e.t, "del", e.lockKey()) }},
		}
	}
	return []breakage{
		{"lock file deleted", func(e *election) {
			must(e.t, os.Remove(filepath.Join(e.store.dir, e.name+".lock")))
		}},
		{"lock file replaced", func(e *election) {
			lock := filepath.Join(e.store.dir, e.name+".lock")
			must(e.t, os.WriteFile(lock+".new", nil, 0o600))
			must(e.t, os.Rename(lock+".new", lock))
		}},
	}
}
