package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// Ctl runs the consul program against the first server that is up, not paused and
// not isolated, with the cluster's certificates and the management token, and returns
// what it printed. It gives up after 30 s.
func (c *Consul) Ctl(args ...string) (string, error) {
	bin, err := Bin("consul")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out, errout bytes.Buffer
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.CtlEnv(), &out, &errout
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("consul %s: %w: %s",
			strings.Join(args, " "), err, strings.TrimSpace(errout.String()))
	}
	return out.String(), nil
}

// MoveLeader makes the node lead the cluster, or the next one if it does already.
func (c *Consul) MoveLeader(node int) error {
	leader, err := c.Leader()
	if err != nil {
		return err
	}
	if node == leader {
		node = (node + 1) % len(c.voters())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var self struct{ Config struct{ NodeID string } }
	if err := c.call(ctx, c.nodes[node], "GET", "/v1/agent/self", nil, &self); err != nil {
		return err
	}
	return c.call(ctx, c.nodes[leader], "POST", "/v1/operator/raft/transfer-leader?id="+self.Config.NodeID, nil, nil)
}

// CtlEnv is the environment in which the consul program, and whoever honours the
// same variables, reaches the cluster as its administrator.
func (c *Consul) CtlEnv() []string {
	n := c.awakeNode()
	env := append(cleanEnv(), "CONSUL_HTTP_ADDR="+c.certs.scheme()+"://"+n.addr)
	if c.o.TLS {
		env = append(env, "CONSUL_CACERT="+c.certs.ca,
			"CONSUL_CLIENT_CERT="+c.certs.clientCert, "CONSUL_CLIENT_KEY="+c.certs.clientKey)
	}
	if c.certs.flaw != "" {
		env = append(env, "CONSUL_HTTP_SSL_VERIFY=false")
	}
	if c.token != "" {
		env = append(env, "CONSUL_HTTP_TOKEN="+c.token)
	}
	return env
}

func (c *Consul) awakeNode() *node {
	if awake := c.awakeNodes(); len(awake) > 0 {
		return awake[0]
	}
	return c.nodes[0]
}

// Token returns the management token; "" without ACLs.
func (c *Consul) Token() string { return c.token }

// NewToken makes a token that allows what the rules say, in HCL:
//
//	key_prefix "leaderrun/" { policy = "write" } session_prefix "" { policy = "write" }
func (c *Consul) NewToken(rules string) (accessor, secret string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	name := "p-" + newUUID()
	err = c.call(ctx, c.awakeNode(), "PUT", "/v1/acl/policy", map[string]any{"Name": name, "Rules": rules}, nil)
	if err != nil {
		return "", "", fmt.Errorf("make a token: %w", err)
	}
	var token struct{ AccessorID, SecretID string }
	policies := []map[string]string{{"Name": name}}
	err = c.call(ctx, c.awakeNode(), "PUT", "/v1/acl/token", map[string]any{"Policies": policies}, &token)
	if err != nil {
		return "", "", fmt.Errorf("make a token: %w", err)
	}
	return token.AccessorID, token.SecretID, nil
}

// DeleteToken revokes the token. A client agent may go on believing in it for
// acl.token_ttl, 30 s by default.
func (c *Consul) DeleteToken(accessor string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return c.call(ctx, c.awakeNode(), "DELETE", "/v1/acl/token/"+accessor, nil, nil)
}

// call speaks JSON with the node as the administrator. in and out may be nil.
func (c *Consul) call(ctx context.Context, n *node, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	header := http.Header{}
	if c.token != "" {
		header.Set("X-Consul-Token", c.token)
	}
	status, answer, err := c.http(ctx, method, n, path, header, body)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s %s: status %d: %s", method, path, status, strings.TrimSpace(answer))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal([]byte(answer), out)
}

func newUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
