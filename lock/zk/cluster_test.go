package zk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// index finds the node of an endpoint.
func (r *rig) index(endpoint string) int {
	r.Helper()
	for i, e := range r.zoo.Endpoints() {
		if e == endpoint {
			return i
		}
	}
	r.Fatalf("no node at %s", endpoint)
	return -1
}

// connected returns the node that a holder's session is connected to.
func (a *run) connected() int {
	a.Helper()
	var node int
	eventually(a, "a connection", patient, func() bool {
		c := a.session().pool.Current()
		if c != nil {
			node = a.index(c.endpoint)
		}
		return c != nil
	})
	return node
}

// The ensemble may lose its leader, or the server that we talk to, by a crash or
// a freeze: the same lease goes on.
func TestMembers(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ZooKeeperOptions{Nodes: 3})
	const ttl = 10 * time.Second
	a := r.startWith(r.open(), lock.Candidate{ID: "a", TTL: ttl})
	a.Wins(patient)
	b := r.startWith(r.open(), lock.Candidate{ID: "b", TTL: ttl})
	b.Hears(lock.StandingBy, patient)

	leader, err := r.zoo.Leader()
	r.must(err)
	r.must(r.zoo.Kill(leader))
	a.Survives(3, 2*ttl)
	r.must(r.zoo.Restart(leader))

	for _, harm := range []struct{ strike, mend func(int) error }{
		{r.zoo.Kill, r.zoo.Restart},
		{r.zoo.Pause, r.zoo.Resume},
	} {
		at := a.connected()
		r.must(harm.strike(at))
		a.Survives(3, 2*ttl)
		if now := a.connected(); now == at {
			t.Errorf("still connected to node %d", at)
		}
		r.must(harm.mend(at))
	}
	b.Waits(0)
	a.Release()
	b.Wins(ttl)
}

// A server that grants the session less than another did would cut short what is
// left of the lease: it is over at once, and the line says why.
func TestServersGrantDifferently(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRig(t, servers.ZooKeeperOptions{Nodes: 3, Dir: dir, Fast: true})
	a := r.startWith(r.open(r.zoo.Endpoints()[0]), lock.Candidate{ID: "a", TTL: 6 * time.Second})
	a.Wins(patient)
	files, err := filepath.Glob(filepath.Join(dir, "*.cfg"))
	r.must(err)
	for _, file := range files {
		conf, err := os.ReadFile(file)
		r.must(err)
		r.must(os.WriteFile(file, append(conf, "maxSessionTimeout=3000\n"...), 0o600))
	}
	r.must(r.zoo.Kill(0))
	r.must(r.zoo.Restart(0))
	within(t, "the loss", patient, a.Lease.Lost())
	if err := a.Lease.Err(); !errors.Is(err, lock.ErrLost) || !strings.Contains(err.Error(), "maxSessionTimeout") {
		t.Errorf("%v", err)
	}
	a.Release()
	if rec := r.record("e"); rec.State != lock.Clean {
		t.Errorf("record: %+v", rec)
	}
}
