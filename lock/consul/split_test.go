package consul

import (
	"errors"
	"testing"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/lock/contract"
	"leaderrun/scripts/servers"
)

// The leader of the cluster is cut off from the other servers while the holder still
// reaches it: what it says counts for nothing, and the holder's tenure is over before
// anybody else leads. With another address the same tenure goes on.
func TestClusterLeaderCutOff(t *testing.T) {
	for name, cut := range map[string]func(*servers.Consul, int) error{
		"both ways":        func(c *servers.Consul, i int) error { return c.Isolate(i) },
		"it hears nothing": func(c *servers.Consul, i int) error { return c.IsolateIn(i) },
		"it is not heard":  func(c *servers.Consul, i int) error { return c.IsolateOut(i) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, servers.ConsulOptions{Nodes: 3, Hosts: true})
			leader, err := r.consul.Leader()
			r.must(err)
			there := r.consul.Endpoints()[leader]
			var others []string
			for _, e := range r.consul.Endpoints() {
				if e != there {
					others = append(others, e)
				}
			}
			a := r.lead(r.open(there), "a")
			b := r.startWith(r.openWith(r.settingsFor(restartTTL, others...)), long("b"))
			b.Hears(lock.StandingBy, prompt)
			// An election of its own, whose holder knows all servers.
			moves := r.openWith(r.settingsFor(restartTTL, append([]string{there}, others...)...))
			l, err := moves.Locker("f").Acquire(t.Context(), long("c"))
			r.must(err)
			c := &run{r, contract.Holding(r.T, l)}
			a.Survives(1, testTTL)

			r.must(cut(r.consul, leader))
			began := bootclock.Now()
			within(t, "the loss", 2*testTTL, a.Lease.Lost())
			if !errors.Is(a.Lease.Err(), lock.ErrExpired) || bootclock.Now() < a.Lease.ValidUntil() {
				t.Errorf("lost: %v", a.Lease.Err())
			}
			t.Logf("a lost it after %v", bootclock.Now().Sub(began))
			b.Waits(0)
			token := b.Wins(patient).Token()
			t.Logf("b leads after %v", bootclock.Now().Sub(began))
			if token <= a.Lease.Token() {
				t.Errorf("token %d after %d", token, a.Lease.Token())
			}
			c.Survives(2, restartTTL)
			r.must(r.consul.Rejoin(leader))
			b.Survives(2, restartTTL)
			c.Survives(2, restartTTL)
			a.Release()
			b.Release()
			c.Release()
		})
	}
}

// A client agent that is cut off from the servers still answers, with nothing of
// worth: the next address is used.
func TestAgentCutOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{Agents: 1, Hosts: true})
	s := r.openWith(r.settingsFor(restartTTL, r.consul.AgentEndpoints()[0], r.consul.Endpoints()[0]))
	a := r.startWith(s, long("a"))
	a.Wins(prompt)
	if at := s.pool.Current().Endpoint(); at != r.consul.AgentEndpoints()[0] {
		t.Fatalf("uses %s", at)
	}
	r.must(r.consul.IsolateAgent(0))
	a.Survives(3, 2*restartTTL)
	if at := s.pool.Current().Endpoint(); at != r.consul.Endpoints()[0] {
		t.Errorf("uses %s", at)
	}
	r.must(r.consul.RejoinAgent(0))
	a.Survives(1, restartTTL)
}
