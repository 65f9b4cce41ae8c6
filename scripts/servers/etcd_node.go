package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

type etcdNode struct {
	name, addr, peer, log string
	args                  []string
	proc                  *process // the latest; nil before the first start
	paused                bool
}

var errPortTaken = errors.New("the port is taken")

func (n *etcdNode) up() bool { return n.proc != nil && n.proc.running() }

func (n *etcdNode) kill() {
	if n.proc != nil {
		n.proc.kill()
		n.paused = false
	}
}

// args is the node's command line. Heartbeat and election time-out are etcd's
// defaults (100 ms, 1 s), though shorter ones would start faster: they decide the
// smallest lease (1.5 election time-outs) and how long a leader change takes, and
// both are to be as users have them.
func (e *Etcd) args(n *etcdNode, cluster string) []string {
	client := e.scheme() + "://" + n.addr
	args := []string{
		"--name=" + n.name,
		"--data-dir=" + filepath.Join(e.dir, n.name),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + n.peer,
		"--initial-advertise-peer-urls=" + n.peer,
		"--initial-cluster=" + cluster,
		"--initial-cluster-token=" + filepath.Base(e.dir),
	}
	if e.o.TLS {
		args = append(args, "--client-cert-auth", "--trusted-ca-file="+e.certs.ca,
			"--cert-file="+e.certs.serverCert, "--key-file="+e.certs.serverKey)
	}
	if e.o.Fast {
		args = append(args, "--unsafe-no-fsync")
	}
	return append(args, e.o.Args...)
}

func (e *Etcd) scheme() string {
	if e.o.TLS {
		return "https"
	}
	return "http"
}

func (e *Etcd) start(i int) error {
	bin, err := Bin("etcd")
	if err != nil {
		return err
	}
	n := e.nodes[i]
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the node has its own copy
	cmd := exec.Command(bin, n.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = e.dir, cleanEnv(), log, log
	p, err := startProcess(cmd, e.o.detached)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	e.mu.Lock()
	n.proc, n.paused = p, false
	e.mu.Unlock()
	if e.o.detached {
		return recordPid(e.dir, p.pid())
	}
	return nil
}

// cleanEnv is the environment without what etcd and etcdctl would take for
// settings, and without proxies, which gRPC would use for any address but loopback.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		name = strings.ToUpper(name)
		if !strings.HasPrefix(name, "ETCD") && !strings.HasSuffix(name, "_PROXY") {
			env = append(env, kv)
		}
	}
	return env
}

// Kill ends the node with SIGKILL and returns once it is gone.
func (e *Etcd) Kill(node int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.nodes[node].up() {
		return fmt.Errorf("kill etcd %d: it does not run", node)
	}
	e.nodes[node].kill()
	return nil
}

// Restart starts the node with the ports and data that it had, killing it first
// if it still runs, and waits until it serves. Without a majority none can: then it
// returns as soon as the process is started.
func (e *Etcd) Restart(node int) error {
	e.mu.Lock()
	e.nodes[node].kill()
	e.mu.Unlock()
	if err := e.start(node); err != nil {
		return err
	}
	if !e.majority() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return e.awaitHealthy(ctx, node)
}

func (e *Etcd) up(i int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodes[i].up()
}

func (e *Etcd) awake(i int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodes[i].up() && !e.nodes[i].paused
}

func (e *Etcd) majority() bool {
	n := 0
	for i := range e.nodes {
		if e.awake(i) {
			n++
		}
	}
	return n > len(e.nodes)/2
}

// Pause stops the node with SIGSTOP: its connections stay open and silent.
func (e *Etcd) Pause(node int) error { return e.setPaused(node, true) }

// Resume undoes Pause.
func (e *Etcd) Resume(node int) error { return e.setPaused(node, false) }

func (e *Etcd) setPaused(node int, paused bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[node]
	if !n.up() {
		return fmt.Errorf("pause or resume etcd %d: it does not run", node)
	}
	n.paused = paused
	if paused {
		return n.proc.pause()
	}
	return n.proc.resume()
}

// logTail returns the last lines of the node's log: what a reader of a failed
// test can take in.
func (n *etcdNode) logTail() string {
	data, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
