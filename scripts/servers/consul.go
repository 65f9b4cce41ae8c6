package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// ConsulOptions says which Consul to start. The zero value is one server on
// loopback, without TLS and without ACLs.
type ConsulOptions struct {
	Nodes  int    // servers: 1 if not set
	Agents int    // client agents beside them, whose HTTP interface leaderrun uses in production
	Host   string // the address that clients reach it at: 127.0.0.1 if not set
	Hosts  bool   // each node, each agent is a host of its own: see Isolate; Host stays unset
	Dir    string // for data, logs and certificates, without an earlier cluster's: a temporary one if not set
	Disk   int    // MiB of a small disk of its own for each node's data: see FillDisk; none if not set

	TLS        bool       // clients must speak it, and show a certificate of the same authority
	ServerCert ServerCert // what is wrong with their own; nothing if not set
	ACL        bool       // without a token nothing is allowed

	MinTTL time.Duration // of sessions; Consul's own 10 s if not set
	Args   []string      // further flags for each agent, the last word: "-log-level=debug"

	detached bool // outlives this process: see detached.go
}

// Consul is a running cluster: servers, and client agents beside them. Both are
// counted from 0, separately; methods that take a node mean a server. Its methods
// are safe for concurrent use.
type Consul struct {
	*cluster
	o     ConsulOptions
	token string
}

// An agent's ports, by index. Consul gossips over TCP and UDP.
const (
	consulHTTP = iota
	consulRPC
	consulSerf
)

// StartConsul installs Consul if need be, starts it and waits until it serves. It
// ends with the test; if that failed, the end of each node's log is in its output.
func StartConsul(t testing.TB, o ConsulOptions) *Consul {
	t.Helper()
	return startForTest(t, "consul", o.Hosts, func(ctx context.Context) (*Consul, error) { return RunConsul(ctx, o) })
}

// RunConsul is StartConsul for programs. ctx bounds the start, not the life.
func RunConsul(ctx context.Context, o ConsulOptions) (*Consul, error) {
	c := &Consul{o: o}
	if o.ACL {
		c.token = newUUID()
	}
	c.cluster = newCluster(c, shape{
		name: "consul", nodes: o.Nodes, clients: o.Agents, ports: []int{8500, 8300, 8301},
		host: o.Host, hosts: o.Hosts, dir: o.Dir, disk: o.Disk, detached: o.detached,
	})
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Consul) layOut() error {
	bin, err := Bin("consul")
	if err != nil {
		return err
	}
	if c.o.TLS {
		if err := c.makeCerts("", c.o.ServerCert); err != nil {
			return err
		}
	}
	for i, n := range c.nodes {
		data, err := json.MarshalIndent(c.config(n, i < len(c.voters())), "", "  ")
		if err != nil {
			return err
		}
		file := n.data + ".json"
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
		n.command = append([]string{bin, "agent", "-config-file=" + file}, c.o.Args...)
	}
	return nil
}

// config is the agent's configuration file. raft_multiplier is 1, what Consul's
// documentation recommends for production (the default of 5, for tiny machines, makes
// each election five times as slow); gossip is timed as users have it.
func (c *Consul) config(n *node, server bool) map[string]any {
	cfg := map[string]any{
		"node_name":   n.name,
		"server":      server,
		"data_dir":    n.data,
		"bind_addr":   n.peerHost,
		"client_addr": n.host,
		"ports":       c.ports(n),
		// A node that ends is to be missed, not to say goodbye.
		"leave_on_terminate":   false,
		"disable_update_check": true,
		"connect":              map[string]any{"enabled": false},
		"performance":          map[string]any{"raft_multiplier": 1},
		// The first try comes before the others listen, the next would come after 30 s.
		"retry_join":     c.gossip(n),
		"retry_interval": "200ms",
	}
	if server {
		cfg["bootstrap_expect"] = len(c.voters())
	}
	if c.o.MinTTL > 0 {
		cfg["session_ttl_min"] = c.o.MinTTL.String()
	}
	if c.o.TLS {
		cfg["tls"] = map[string]any{"https": map[string]any{
			"ca_file": c.certs.ca, "cert_file": c.certs.serverCert, "key_file": c.certs.serverKey,
			"verify_incoming": true,
		}}
	}
	if c.o.ACL {
		cfg["acl"] = map[string]any{
			"enabled": true, "default_policy": "deny",
			"tokens": map[string]any{"initial_management": c.token, "agent": c.token},
		}
	}
	return cfg
}

func (c *Consul) ports(n *node) map[string]int {
	ports := map[string]int{
		"http": n.ports[consulHTTP], "https": -1,
		"server": n.ports[consulRPC], "serf_lan": n.ports[consulSerf],
		"serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1,
	}
	if c.o.TLS {
		ports["http"], ports["https"] = -1, n.ports[consulHTTP]
	}
	return ports
}

// gossip is where n finds the servers.
func (c *Consul) gossip(n *node) []string {
	list := []string{} // not null: Consul wants a list
	for _, peer := range c.voters() {
		if peer != n {
			list = append(list, peer.peerAt(consulSerf))
		}
	}
	return list
}

// URL returns what `leaderrun --store` takes: the servers.
func (c *Consul) URL() string { return c.url("consul") }

// AgentURL is URL for a client agent.
func (c *Consul) AgentURL(agent int) string {
	return "consul://" + c.AgentEndpoints()[agent] + "/leaderrun"
}

// AgentEndpoints returns each client agent's address, host:port.
func (c *Consul) AgentEndpoints() []string { return addrs(c.nodes[len(c.voters()):]) }

// KillAgent ends a client agent with SIGKILL and returns once it is gone.
func (c *Consul) KillAgent(agent int) error { return c.Kill(len(c.voters()) + agent) }

// RestartAgent starts a client agent with the ports and data that it had and waits
// until it serves.
func (c *Consul) RestartAgent(agent int) error { return c.Restart(len(c.voters()) + agent) }

// PauseAgent stops a client agent with SIGSTOP.
func (c *Consul) PauseAgent(agent int) error { return c.Pause(len(c.voters()) + agent) }

// ResumeAgent undoes PauseAgent.
func (c *Consul) ResumeAgent(agent int) error { return c.Resume(len(c.voters()) + agent) }

// IsolateAgent cuts a client agent off from the servers: see Isolate.
func (c *Consul) IsolateAgent(agent int) error { return c.Isolate(len(c.voters()) + agent) }

// RejoinAgent undoes IsolateAgent.
func (c *Consul) RejoinAgent(agent int) error { return c.Rejoin(len(c.voters()) + agent) }

// leads believes Raft's state: what /v1/status/leader says is hearsay.
func (c *Consul) leads(ctx context.Context, n *node) bool {
	var self struct {
		Stats struct{ Raft struct{ State string } }
	}
	err := c.call(ctx, n, "GET", "/v1/agent/self", nil, &self)
	return err == nil && self.Stats.Raft.State == "Leader"
}

// healthy asks for a consistent read, through the node, of the node itself: a
// session can only be made at one that the catalog knows and that is not critical.
func (c *Consul) healthy(ctx context.Context, n *node) error {
	var checks []struct{ CheckID, Status string }
	err := c.call(ctx, n, "GET", "/v1/health/node/"+n.name+"?consistent", nil, &checks)
	if err != nil {
		return err
	}
	for _, check := range checks {
		if check.CheckID == "serfHealth" && check.Status == "passing" {
			return nil
		}
	}
	return fmt.Errorf("%s is not registered, or critical: %s", n.name, strings.TrimSpace(fmt.Sprint(checks)))
}

func (c *Consul) setUp() error { return nil }

// rejoined does what an operator would with `consul join`: gossip tries a member that
// it takes for dead again only every 30 s. Raft does not wait for that, but sessions do.
func (c *Consul) rejoined(n *node) error {
	if !c.awake(n) {
		return nil
	}
	for _, peer := range c.awakeNodes() {
		if peer != n {
			return c.call(context.Background(), n, "PUT", "/v1/agent/join/"+peer.peerAt(consulSerf), nil, nil)
		}
	}
	return nil
}
