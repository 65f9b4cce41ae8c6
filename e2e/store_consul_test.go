//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"leaderrun/scripts/servers"
)

// consulOptions lets sessions be shorter than the ten seconds that are Consul's
// least by default, and leaderrun's: so long no test need wait.
func consulOptions(o serverOptions) servers.ConsulOptions {
	return servers.ConsulOptions{
		Nodes: o.nodes, Agents: o.agents, Host: o.host, Hosts: o.hosts, Disk: o.disk, TLS: o.tls, ServerCert: o.cert, ACL: o.secured,
		MinTTL: time.Second,
	}
}

// leastPrivilege is the policy in docs/stores.md.
const leastPrivilege = `
key_prefix "leaderrun/" { policy = "write" }
session "leaderrun" { policy = "write" }
node "leaderrun" { policy = "write" }
`

var consulKind = &kind{
	name: "consul", program: "consul",
	start: starter(servers.StartConsul, consulOptions), run: runner(servers.RunConsul, consulOptions),
	access: access{
		flag: "--acl-token-file", hint: "--acl-token-file",
		secret: func(s *store) string {
			_, token, err := s.server.(*servers.Consul).NewToken(leastPrivilege)
			must(s.t, err)
			return token
		},
		wrong: func(*store) string { return "11111111-2222-3333-4444-555555555555" },
	},
	breakages: []breakage{
		{"session destroyed", func(e *election) {
			e.store.consul(http.MethodPut, "/v1/session/destroy/"+e.consulSession(), nil)
		}},
		{"lock key deleted", func(e *election) { e.store.consul(http.MethodDelete, "/v1/kv"+e.consulKey(), nil) }},
	},
	left: consulLeft, renewal: unseenRenewal, asker: consulAsker,
	shortest: time.Second,
	lease:    same,
	// It waits for twice the TTL, and the lock-delay after that.
	outlives: func(ttl time.Duration) time.Duration { return 2*ttl + time.Second },
}

// consul asks the first server, over its plain HTTP interface.
func (s *store) consul(method, path string, out any) {
	s.t.Helper()
	s.consulAt(s.Endpoints()[0], method, path, out)
}

func (s *store) consulAt(addr, method, path string, out any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, nil)
	must(s.t, err)
	answer, err := http.DefaultClient.Do(request)
	must(s.t, err)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		must(s.t, fmt.Errorf("%s %s: %s", method, path, answer.Status))
	}
	if out != nil {
		must(s.t, json.NewDecoder(answer.Body).Decode(out))
	}
}

func (e *election) consulKey() string { return "/leaderrun/" + e.name + "/.lock" }

// consulSession returns the leader's session.
func (e *election) consulSession() string {
	e.t.Helper()
	var pairs []struct{ Session string }
	e.store.consul(http.MethodGet, "/v1/kv"+e.consulKey()+"?consistent", &pairs)
	if len(pairs) != 1 || strings.Count(pairs[0].Session, "-") != 4 {
		e.t.Fatalf("nobody holds %s: %v", e.consulKey(), pairs)
	}
	return pairs[0].Session
}
