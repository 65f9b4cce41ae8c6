package servers

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// Ctl runs etcdctl against the nodes that are up, not paused and not isolated, with
// the cluster's certificates and its user, and returns what it printed. It gives up
// after 30 s.
func (e *Etcd) Ctl(args ...string) (string, error) {
	env := e.CtlEnv()
	if awake := e.awakeNodes(); len(awake) > 0 {
		env = append(env, e.endpoints(addrs(awake)))
	}
	return e.ctl(env, "", args...)
}

// MoveLeader makes the node lead the cluster, or the next one if it does already.
func (e *Etcd) MoveLeader(node int) error {
	leader, err := e.Leader()
	if err != nil {
		return err
	}
	if node == leader {
		node = (node + 1) % len(e.nodes)
	}
	list, err := e.Ctl("member", "list")
	if err != nil {
		return err
	}
	for line := range strings.Lines(list) { // ID, status, name, ...
		if f := strings.Split(line, ", "); len(f) > 2 && f[2] == e.nodes[node].name {
			env := append(e.CtlEnv(), e.endpoints([]string{e.nodes[leader].addr}))
			_, err := e.ctl(env, "", "move-leader", f[0])
			return err
		}
	}
	return fmt.Errorf("move etcd's leader to %s: no such member:\n%s", e.nodes[node].name, list)
}

// CtlEnv is the environment in which etcdctl, and whoever honours the same
// variables, reaches the cluster.
func (e *Etcd) CtlEnv() []string {
	env := e.anonymousEnv()
	if e.o.User != "" {
		env = append(env, "ETCDCTL_USER="+e.o.User, "ETCDCTL_PASSWORD="+e.o.Password)
	}
	return env
}

func (e *Etcd) anonymousEnv() []string {
	env := append(cleanEnv(), e.endpoints(e.Endpoints()))
	if e.o.TLS {
		env = append(env, "ETCDCTL_CACERT="+e.certs.ca,
			"ETCDCTL_CERT="+e.certs.clientCert, "ETCDCTL_KEY="+e.certs.clientKey)
	}
	if e.certs.flaw != "" {
		env = append(env, "ETCDCTL_INSECURE_SKIP_TLS_VERIFY=true")
	}
	return env
}

func (e *Etcd) endpoints(addrs []string) string {
	var urls []string
	for _, addr := range addrs {
		urls = append(urls, e.scheme()+"://"+addr)
	}
	return "ETCDCTL_ENDPOINTS=" + strings.Join(urls, ",")
}

func (e *Etcd) ctl(env []string, input string, args ...string) (string, error) {
	bin, err := Bin("etcdctl")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out, errout bytes.Buffer
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, strings.NewReader(input), &out, &errout
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("etcdctl %s: %w: %s",
			strings.Join(args, " "), err, strings.TrimSpace(errout.String()))
	}
	return out.String(), nil
}

// setUp makes the user a second root: etcd insists on one that is called so.
func (e *Etcd) setUp() error {
	if e.o.User == "" {
		return nil
	}
	users := []string{"root"}
	if e.o.User != "root" {
		users = append(users, e.o.User)
	}
	for _, user := range users {
		// The password goes over standard input, like everybody's should.
		if _, err := e.ctl(e.anonymousEnv(), e.o.Password+"\n", "user", "add", user, "--interactive=false"); err != nil {
			return err
		}
		if _, err := e.ctl(e.anonymousEnv(), "", "user", "grant-role", user, "root"); err != nil {
			return err
		}
	}
	_, err := e.ctl(e.anonymousEnv(), "", "auth", "enable")
	return err
}

func (e *Etcd) rejoined(*node) error { return nil }

func (e *Etcd) leads(ctx context.Context, n *node) bool {
	metrics, err := e.get(ctx, n, "/metrics")
	return err == nil && strings.Contains(metrics, "\netcd_server_is_leader 1\n")
}

// healthy answers by a linearizable read.
func (e *Etcd) healthy(ctx context.Context, n *node) error {
	_, err := e.get(ctx, n, "/health")
	return err
}

func (e *Etcd) get(ctx context.Context, n *node, path string) (string, error) {
	status, body, err := e.http(ctx, http.MethodGet, n, path, nil, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", path, status, body)
	}
	return body, err
}
