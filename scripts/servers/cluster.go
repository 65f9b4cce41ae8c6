package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A store is what sets the cluster of one store apart from another's. Its methods
// may ask a node only for what layOut has fixed.
type store interface {
	layOut() error // completes each node: addresses, files, the command line
	healthy(ctx context.Context, n *node) error
	leads(ctx context.Context, n *node) bool // by the node's own word
	setUp() error                            // users and the like, once all nodes are healthy
	rejoined(n *node) error                  // what hastens its return
}

// A shape is what the options of all stores say about the cluster.
type shape struct {
	name      string // of the store: what Install knows
	nodes     int    // voters
	clients   int    // nodes beside them that do not vote: Consul's client agents
	ports     []int  // a node's, where it has a host to itself; others' are as many
	host, dir string
	hosts     bool // each node is one
	disk      int  // MiB of each node's own; none if not set
	detached  bool // outlives this process: see detached.go
}

// A cluster is the nodes of one store and what can be done to them. Nodes are
// counted from 0. Its methods are safe for concurrent use.
type cluster struct {
	shape
	store  store
	ownDir bool
	certs  certs
	free   func() // gives the ports back
	lan    *lan   // nil unless hosts

	mu    sync.Mutex
	nodes []*node // the voters first
}

const startTimeout = 60 * time.Second

var errPortTaken = errors.New("the port is taken")

func newCluster(s store, sh shape) *cluster {
	sh.nodes = max(sh.nodes, 1)
	return &cluster{shape: sh, store: s, free: func() {}}
}

// startForTest lets run start a cluster that ends with the test; if that failed,
// the end of each node's log is in its output.
func startForTest[C interface {
	comparable
	Stop() error
	logs() string
}](t testing.TB, name string, hosts bool, run func(context.Context) (C, error)) C {
	t.Helper()
	Require(t, name)
	if hosts {
		Require(t, "netns")
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.logs())
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// run installs what is missing, starts the nodes and waits until they serve. ctx
// bounds the start, not the life.
func (c *cluster) run(ctx context.Context) error {
	switch {
	case c.hosts && c.host != "":
		return fmt.Errorf("start %s: Host and Hosts exclude each other", c.name)
	case c.hosts && c.detached:
		return fmt.Errorf("start %s: Hosts end with this process: none can be left running", c.name)
	case c.host == "":
		c.host = "127.0.0.1"
	}
	if err := Install(ctx, c.name); err != nil {
		return err
	}
	dir := c.dir
	// A port that was free a moment ago may be somebody's now.
	for try := 1; ; try++ {
		err := c.runOnce(ctx)
		if err == nil {
			return nil
		}
		err = errors.Join(err, c.Stop(), c.removeData())
		if !errors.Is(err, errPortTaken) || try == 5 {
			return fmt.Errorf("start %s: %w", c.name, err)
		}
		c.dir, c.nodes = dir, nil
	}
}

func (c *cluster) runOnce(ctx context.Context) error {
	if err := c.makeDir(); err != nil {
		return err
	}
	if err := c.makeNodes(); err != nil {
		return err
	}
	if err := c.store.layOut(); err != nil {
		return err
	}
	for i := range c.nodes {
		if err := c.start(i); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := c.awaitHealthy(ctx, n); err != nil {
			return err
		}
	}
	return c.store.setUp()
}

// removeData makes way for another try with other ports.
func (c *cluster) removeData() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, os.RemoveAll(n.data))
	}
	return errors.Join(errs...)
}

// Stop ends every node, and removes the directory if it was a temporary one.
func (c *cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		n.kill()
	}
	c.free()
	var errs []error
	if c.lan != nil {
		errs = append(errs, c.lan.remove())
	}
	errs = append(errs, c.unmountDisks())
	if c.ownDir && c.dir != "" {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

func (c *cluster) voters() []*node { return c.nodes[:c.shape.nodes] }

// Endpoints returns each node's address for clients, host:port.
func (c *cluster) Endpoints() []string { return addrs(c.voters()) }

func addrs(nodes []*node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.addr)
	}
	return list
}

// CA returns the file of the authority's certificate; "" without TLS.
func (c *cluster) CA() string { return c.certs.ca }

// ClientCert returns the file of a client's certificate; "" without TLS.
func (c *cluster) ClientCert() string { return c.certs.clientCert }

// ClientKey returns the file of that certificate's key; "" without TLS.
func (c *cluster) ClientKey() string { return c.certs.clientKey }

// NewClientCert writes another certificate of the client, and its key, into these
// files. It is valid for life from now on, to the second.
func (c *cluster) NewClientCert(certFile, keyFile string, life time.Duration) error {
	if c.certs.authority == nil {
		return fmt.Errorf("certify a client of %s: it has no authority, TLS is not set", c.name)
	}
	return c.certs.signClient(certFile, keyFile, life)
}

// logs returns the end of each node's log.
func (c *cluster) logs() string {
	var b strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&b, "--- %s %s, %s:\n%s\n", c.name, n.name, n.addr, n.logTail())
	}
	return b.String()
}

func (c *cluster) url(scheme string) string {
	return scheme + "://" + strings.Join(c.Endpoints(), ",") + "/leaderrun"
}
