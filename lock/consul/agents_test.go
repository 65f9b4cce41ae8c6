package consul

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// restartTTL is that of tenures that live through a restart: an agent that finds
// its cluster again takes a second or two here.
const restartTTL = 10 * time.Second

func long(id string) lock.Candidate {
	return lock.Candidate{ID: id, Host: "test", TTL: restartTTL, Grace: restartTTL / 10}
}

// settingsFor are those of the given lease.
func (r *rig) settingsFor(ttl time.Duration, hosts ...string) lock.Settings {
	r.Helper()
	s := r.settings(hosts...)
	var err error
	s.DefaultTimeout, err = lock.NewTiming(ttl, 0)
	r.must(err)
	return s
}

// The only server may be killed and come back within the TTL.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{})
	s := r.openWith(r.settingsFor(restartTTL))
	a := r.startWith(s, long("a"))
	a.Wins(prompt)
	b := r.startWith(s, long("b"))
	b.Hears(lock.StandingBy, prompt)
	r.must(r.consul.Kill(0))
	t.Log(a.Hears(lock.RenewalFailing, restartTTL).Err)
	r.must(r.consul.Restart(0))
	a.Survives(2, restartTTL)
	b.Waits(0)
	a.Release()
	b.Wins(prompt)
}

// The only agent may be killed, or frozen, and come back under a leader while the
// cluster is well.
func TestAgent(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{Agents: 1, ACL: true})
	s := r.openWith(r.settingsFor(restartTTL, r.consul.AgentEndpoints()...))
	other := r.openWith(r.settingsFor(restartTTL, r.consul.Endpoints()...))
	a := r.startWith(s, long("a"))
	a.Wins(prompt)
	b := r.startWith(other, long("b"))
	b.Hears(lock.StandingBy, prompt)

	for name, restart := range map[string]func(){
		"killed": func() { r.must(r.consul.KillAgent(0)) },
		"frozen": func() {
			r.must(r.consul.PauseAgent(0))
			a.Hears(lock.RenewalFailing, restartTTL)
			r.must(r.consul.ResumeAgent(0))
			a.Survives(2, restartTTL)
		},
	} {
		restart()
		began := time.Now()
		r.must(r.consul.RestartAgent(0))
		a.Survives(2, restartTTL)
		t.Logf("%s: back after %v, and the tenure goes on", name, time.Since(began))
	}
	b.Waits(0)
	a.Release()
	b.Wins(prompt)
}

// An agent that is told to stop, as by systemctl, takes its node out of the catalog,
// and no tenure.
func TestAgentLeaves(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{Agents: 1, ACL: true})
	agent := r.consul.AgentEndpoints()[0]
	a := r.lead(r.open(agent, r.consul.Endpoints()[0]), "a")
	r.leave(agent)
	a.Survives(2, testTTL)
	r.must(r.consul.RestartAgent(0))
	a.Survives(2, testTTL)
}

// leave stops client agent 0 politely, and waits until its node has been gone: an
// agent that has just begun may register it once more, for a minute.
func (r *rig) leave(agent string) {
	r.Helper()
	canary, _, err := r.admin.Session().CreateNoChecks(&api.SessionEntry{Node: "client0"}, nil)
	r.must(err)
	r.must(r.adminAt(agent).Agent().Leave())
	eventually(r.T, "the end of a session on the node", patient, func() bool {
		entry, _, err := r.admin.Session().Info(canary, nil)
		return err == nil && entry == nil
	})
}

// With a token that may not use our own node the session belongs to the agent's, and
// ends when that leaves: known at once.
func TestAgentLeavesWithItsSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{Agents: 1, ACL: true})
	_, token, err := r.consul.NewToken(`key_prefix "leaderrun/" { policy = "write" } session "client0" { policy = "write" }`)
	r.must(err)
	r.token = r.file("less", token)
	agent := r.consul.AgentEndpoints()[0]
	s := r.open(agent, r.consul.Endpoints()[0])
	a := r.lead(s, "a")
	if node := r.sessions()[0].Node; node != "client0" {
		t.Errorf("session on node %s", node)
	}
	r.leave(agent)
	within(t, "the loss", testTTL, a.Lease.Lost())
	t.Log(a.Lease.Err())
}

// A server that is down for long is taken out of the cluster: no session goes with it.
func TestServerIsTakenAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{Nodes: 3})
	leader, err := r.consul.Leader()
	r.must(err)
	r.admin = r.adminAt(r.consul.Endpoints()[leader])
	down := (leader + 1) % 3
	s := r.openWith(r.settingsFor(restartTTL))
	a := r.startWith(s, long("a"))
	a.Wins(prompt)
	r.must(r.consul.Kill(down))
	eventually(t, "the node to be gone", time.Minute, func() bool {
		nodes, _, err := r.admin.Catalog().Nodes(nil)
		return err == nil && len(nodes) == 3 // two servers, and ours
	})
	a.Survives(2, restartTTL)
}

// With several addresses it does not matter which of them is down.
func TestAgents(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{Agents: 2})
	s := r.open(r.consul.AgentEndpoints()...)
	a := r.lead(s, "a")
	b := r.standBy(r.open(), "b")
	for agent := range 2 {
		r.must(r.consul.KillAgent(agent))
		a.Survives(4, 2*testTTL)
		r.must(r.consul.RestartAgent(agent))
	}
	r.must(r.consul.KillAgent(0))
	r.must(r.consul.KillAgent(1))
	a.expires()
	b.Waits(0)
	b.Wins(2*testTTL + lock.SettleTime)
	r.must(r.consul.RestartAgent(1))
	a.Release()
	b.Survives(2, testTTL)
}

// A leader of the cluster that is killed or frozen costs no tenure.
func TestClusterLosesItsLeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{Nodes: 3, Agents: 1})
	s := r.openWith(r.settingsFor(restartTTL, append(r.consul.AgentEndpoints(), r.consul.Endpoints()...)...))
	a := r.startWith(s, long("a"))
	a.Wins(prompt)
	b := r.startWith(r.openWith(r.settingsFor(restartTTL)), long("b"))
	b.Hears(lock.StandingBy, prompt)

	leader, err := r.consul.Leader()
	r.must(err)
	r.must(r.consul.Kill(leader))
	began := time.Now()
	a.Survives(2, restartTTL)
	t.Logf("leader killed: renewed twice within %v", time.Since(began))
	r.must(r.consul.Restart(leader))

	leader, err = r.consul.Leader()
	r.must(err)
	r.must(r.consul.Pause(leader))
	a.Survives(3, restartTTL)
	r.must(r.consul.Resume(leader))
	a.Survives(2, restartTTL)
	b.Waits(0)
	a.Release()
	b.Wins(prompt)
}

// A client agent may listen on a unix socket.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consul.sock")
	r := newRig(t, servers.ConsulOptions{ACL: true, Args: []string{"-hcl", `addresses { http = "127.0.0.1 unix://` + path + `" }`}})
	t.Setenv("CONSUL_HTTP_ADDR", "unix://"+path)
	settings := r.settings()
	settings.URL = lock.URL{Scheme: "consul"}
	resolved, err := Resolve(settings)
	r.must(err)
	t.Setenv("CONSUL_HTTP_ADDR", "")
	s, err := open(resolved)
	r.must(err)
	t.Cleanup(func() { _ = s.Close() })
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	a.Survives(1, testTTL)
	a.Release()
	b.Wins(prompt)
	r.must(r.consul.Kill(0))
	_, err = s.Locker("e").Holder(t.Context())
	t.Log(err)
	if !errors.Is(err, lock.ErrUnavailable) {
		t.Error(err)
	}
}
