package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A node is one server of a cluster, running or not.
type node struct {
	name      string
	addr      string // for clients, host:port
	host      string // where clients reach it
	peerHost  string // where the other nodes do
	ports     []int
	data, log string // a directory, a file
	command   []string
	ns        *Netns // the host that it is; nil if it has none to itself
	disk      *Disk  // that data is on; nil if it has none to itself

	proc             *process // the latest; nil before the first start
	paused, isolated bool
}

// at is the node's address for clients at its i-th port.
func (n *node) at(i int) string { return net.JoinHostPort(n.host, strconv.Itoa(n.ports[i])) }

// peerAt is its address for the other nodes at its i-th port.
func (n *node) peerAt(i int) string { return net.JoinHostPort(n.peerHost, strconv.Itoa(n.ports[i])) }

func (n *node) up() bool { return n.proc != nil && n.proc.running() }

func (n *node) kill() {
	if n.proc != nil {
		n.proc.kill()
		n.paused = false
	}
}

// logTail returns the last lines of the node's log: what a reader of a failed
// test can take in.
func (n *node) logTail() string {
	data, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

func (c *cluster) start(i int) error {
	n := c.nodes[i]
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the node has its own copy
	command := exec.Command
	if n.ns != nil {
		command = n.ns.Command
	}
	cmd := command(n.command[0], n.command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, cleanEnv(), log, log
	p, err := startProcess(cmd, c.detached)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	c.mu.Lock()
	n.proc, n.paused = p, false
	c.mu.Unlock()
	if c.detached {
		return recordPid(c.dir, p.pid())
	}
	return nil
}

// cleanEnv is the environment without what the servers and their tools would take
// for settings, and without proxies, which gRPC would use for any address but
// loopback.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		name = strings.ToUpper(name)
		if !setsAServer(name) && !strings.HasSuffix(name, "_PROXY") {
			env = append(env, kv)
		}
	}
	return env
}

func setsAServer(name string) bool {
	for _, prefix := range []string{"ETCD", "CONSUL", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Pid returns the node's process id, 0 while it is down.
func (c *cluster) Pid(node int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.nodes[node]; n.up() {
		return n.proc.pid()
	}
	return 0
}

// Kill ends the node with SIGKILL and returns once it is gone.
func (c *cluster) Kill(node int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.nodes[node].up() {
		return fmt.Errorf("kill %s %d: it does not run", c.name, node)
	}
	c.nodes[node].kill()
	return nil
}

// Restart starts the node with the ports and data that it had, killing it first
// if it still runs, and waits until it serves. Without a majority none can, nor one
// that is cut off: then it returns as soon as the process is started.
func (c *cluster) Restart(node int) error {
	c.mu.Lock()
	c.nodes[node].kill()
	c.mu.Unlock()
	if err := c.start(node); err != nil {
		return err
	}
	if !c.awake(c.nodes[node]) || !c.majority() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return c.awaitHealthy(ctx, c.nodes[node])
}

func (c *cluster) up(n *node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return n.up()
}

// awake says whether the node can take part in anything.
func (c *cluster) awake(n *node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return n.up() && !n.paused && !n.isolated
}

func (c *cluster) majority() bool { return len(c.awakeNodes()) > len(c.voters())/2 }

// awakeNodes are voters.
func (c *cluster) awakeNodes() []*node {
	var list []*node
	for _, n := range c.voters() {
		if c.awake(n) {
			list = append(list, n)
		}
	}
	return list
}

// Pause stops the node with SIGSTOP: its connections stay open and silent.
func (c *cluster) Pause(node int) error { return c.setPaused(node, true) }

// Resume undoes Pause.
func (c *cluster) Resume(node int) error { return c.setPaused(node, false) }

func (c *cluster) setPaused(node int, paused bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[node]
	if !n.up() {
		return fmt.Errorf("pause or resume %s %d: it does not run", c.name, node)
	}
	n.paused = paused
	if paused {
		return n.proc.pause()
	}
	return n.proc.resume()
}

// Leader returns the node that leads the cluster, waiting for an election that is
// under way. A leader that is down, paused or isolated is none.
func (c *cluster) Leader() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		for i, n := range c.voters() {
			if c.awake(n) && c.store.leads(ctx, n) {
				return i, nil
			}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return 0, fmt.Errorf("find the leader of %s: %w", c.name, errNoLeader)
		}
	}
}

var errNoLeader = errors.New("no node says that it leads")

// awaitHealthy waits until the node serves.
func (c *cluster) awaitHealthy(ctx context.Context, n *node) error {
	for {
		err := c.store.healthy(ctx, n)
		if err == nil {
			return nil
		}
		if !c.up(n) {
			tail := n.logTail()
			if strings.Contains(strings.ToLower(tail), "address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("%s ended:\n%s", n.name, tail)
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("%s is not healthy: %w\n%s", n.name, err, n.logTail())
		}
	}
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
