package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// Ctl runs etcdctl against the cluster, with its certificates and its user, and
// returns what it printed. It gives up after 30 s.
func (e *Etcd) Ctl(args ...string) (string, error) {
	return e.ctl(e.CtlEnv(), "", args...)
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
	var urls []string
	for _, addr := range e.Endpoints() {
		urls = append(urls, e.scheme()+"://"+addr)
	}
	env := append(cleanEnv(), "ETCDCTL_ENDPOINTS="+strings.Join(urls, ","))
	if e.o.TLS {
		env = append(env, "ETCDCTL_CACERT="+e.certs.ca,
			"ETCDCTL_CERT="+e.certs.clientCert, "ETCDCTL_KEY="+e.certs.clientKey)
	}
	return env
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

// enableAuth makes the user a second root: etcd insists on one that is called so.
func (e *Etcd) enableAuth() error {
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

// Leader returns the node that leads the cluster, waiting for an election that is
// under way. A leader that is down or paused is none.
func (e *Etcd) Leader() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		for i := range e.nodes {
			if e.leads(ctx, i) {
				return i, nil
			}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return 0, errors.New("find etcd's leader: no node says that it leads")
		}
	}
}

func (e *Etcd) leads(ctx context.Context, i int) bool {
	if !e.awake(i) {
		return false
	}
	metrics, err := e.get(ctx, i, "/metrics")
	return err == nil && strings.Contains(metrics, "\netcd_server_is_leader 1\n")
}

// awaitHealthy waits until the node answers a linearizable read.
func (e *Etcd) awaitHealthy(ctx context.Context, i int) error {
	n := e.nodes[i]
	for {
		_, err := e.get(ctx, i, "/health")
		if err == nil {
			return nil
		}
		if !e.up(i) {
			tail := n.logTail()
			if strings.Contains(tail, "address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("%s ended:\n%s", n.name, tail)
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("%s is not healthy: %w\n%s", n.name, err, n.logTail())
		}
	}
}

func (e *Etcd) get(ctx context.Context, i int, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	tlsConfig, err := e.certs.clientConfig()
	if err != nil {
		return "", err
	}
	// A connection for each request: nodes come and go.
	tr := &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.scheme()+"://"+e.nodes[i].addr+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return string(body), err
}

// pause waits between two looks at something that gives no notice.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
