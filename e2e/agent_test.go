//go:build linux

package e2e

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// The Consul agent on this host is restarted, or hangs for a while: the same child
// goes on. If it stays away, leaderrun goes to another address, if it has one.
func TestAgentLost(t *testing.T) {
	t.Parallel()
	s := own(t, consulKind, serverOptions{agents: 1})
	consul := s.server.(*servers.Consul)
	agent, ttl := consul.AgentEndpoints()[0], 6*time.Second
	for _, c := range []struct {
		name       string
		lose, back func() error
		others     []string // addresses besides the agent's
	}{
		{
			"killed",
			func() error { return consul.KillAgent(0) },
			func() error { return consul.RestartAgent(0) },
			nil,
		}, {
			"told to leave",
			func() error {
				s.consulAt(agent, http.MethodPut, "/v1/agent/leave", nil)
				waitFor(t, "the agent to end", patient, func() bool { return consul.Pid(1) == 0 })
				return nil
			},
			func() error { return consul.RestartAgent(0) },
			nil,
		}, {
			"frozen",
			func() error { return consul.PauseAgent(0) },
			func() error { return consul.ResumeAgent(0) },
			nil,
		}, {
			"killed for good",
			func() error { return consul.KillAgent(0) }, nil,
			s.Endpoints(),
		}, {
			"frozen for good",
			func() error { return consul.PauseAgent(0) }, nil,
			s.Endpoints(),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, consul.RestartAgent(0))
			e := newElection(t, s.in(t))
			through := s.at(append([]string{agent}, c.others...)...)
			a, b, first := e.pair(spec{ttl: ttl, store: through, flags: littleGrace, command: e.tame()}, spec{ttl: ttl})
			must(t, c.lose())
			if c.back != nil {
				pass(time.Second)
				must(t, c.back())
			}
			e.goesOn(first, ttl+time.Second)
			a.signal(t, unix.SIGTERM)
			e.handedOver(first, e.leads(b, first), prompt)
		})
	}
}
