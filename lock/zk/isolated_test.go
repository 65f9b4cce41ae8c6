package zk

import (
	"context"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

// A server that is cut off from its peers goes on talking to us: a follower for
// syncLimit ticks, a deposed leader likewise, while the ensemble lets the session
// run out. The lease is over before anybody else leads, and before the session is.
func TestIsolatedServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ZooKeeperOptions{Nodes: 3, Hosts: true})
	for _, test := range []struct {
		name   string
		leader bool
		cut    func(int) error
	}{
		{"follower", false, r.zoo.Isolate},
		{"leader", true, r.zoo.Isolate},
		{"follower that is not heard", false, r.zoo.IsolateOut},
		{"follower that hears nothing", false, r.zoo.IsolateIn},
		{"leader that is not heard", true, r.zoo.IsolateOut},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &rig{T: t, zoo: r.zoo}
			r.connectAdmin()
			leader, err := r.zoo.Leader()
			r.must(err)
			at := leader
			if !test.leader {
				at = (leader + 1) % 3
			}
			others := []string{r.zoo.Endpoints()[(at+1)%3], r.zoo.Endpoints()[(at+2)%3]}
			for _, e := range r.zoo.Endpoints() {
				r.serves(e)
			}
			a := r.lead(r.open(r.zoo.Endpoints()[at]), "a")
			// It is to keep its place while the others elect a leader.
			s := r.open(others...)
			b := r.startWith(s, lock.Candidate{ID: "b", TTL: 10 * time.Second})
			b.Hears(lock.StandingBy, patient)
			path := r.nodeOf(a)
			a.Survives(2, 2*testTTL)
			t.Cleanup(func() { r.must(r.zoo.Rejoin(at)) })
			r.must(test.cut(at))
			cut := bootclock.Now()

			within(t, "the loss", 2*testTTL, a.Lease.Lost())
			lost := bootclock.Now()
			eventually(t, "the end of the session", patient, func() bool { return !s.exists(t, path) })
			gone := bootclock.Now()
			b = b.takesOver(s)
			led := bootclock.Now()
			t.Logf("lost %v after the cut, gone %v later, led %v later", lost.Sub(cut), gone.Sub(lost), led.Sub(gone))
			if deadline := a.Lease.ValidUntil(); lost < deadline || gone <= deadline {
				t.Errorf("deadline %v after the cut", deadline.Sub(cut))
			}
			r.must(r.zoo.Rejoin(at))
			b.Release()
			a.Release()
			if rec := r.record("e"); rec.State != lock.Clean || rec.Token != b.Lease.Token() {
				t.Errorf("record: %+v", rec)
			}
		})
	}
}

// serves waits until the server at an endpoint does.
func (r *rig) serves(endpoint string) {
	r.Helper()
	s := r.open(endpoint)
	eventually(r, "a server to serve", patient, func() bool {
		_, err := s.Locker("e").Holder(r.Context())
		return err == nil
	})
}

// exists asks a majority; when that does not answer, it is yes.
func (s *Store) exists(t *testing.T, path string) bool {
	t.Helper()
	var n *node
	err := s.request(t.Context(), func(ctx context.Context, c *conn) (err error) {
		if err := c.sync(ctx, path); err != nil {
			return err
		}
		n, err = c.stat(ctx, path)
		return err
	})
	return err != nil || n != nil
}
