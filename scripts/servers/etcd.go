package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// EtcdOptions says which etcd to start. The zero value is one node on loopback,
// without TLS and without users.
type EtcdOptions struct {
	Nodes int    // 1 if not set
	Host  string // the address that clients reach it at: 127.0.0.1 if not set
	Dir   string // for data, logs and certificates, without an earlier cluster's: a temporary one if not set

	TLS            bool   // clients must speak it, and show a certificate of the same authority
	User, Password string // if set, nobody else may do anything

	Fast bool     // do not sync to disk: never where time is measured
	Args []string // further flags for etcd, the last word: "--auth-token-ttl=2"

	detached bool // outlives this process: see detached.go
}

// Etcd is a running cluster. Nodes are counted from 0. Its methods are safe for
// concurrent use.
type Etcd struct {
	o      EtcdOptions
	dir    string
	ownDir bool
	certs  certs
	free   func() // gives the ports back

	mu    sync.Mutex
	nodes []*etcdNode
}

const startTimeout = 60 * time.Second

// StartEtcd installs etcd if need be, starts it and waits until it serves. It
// ends with the test; if that failed, the end of each node's log is in its output.
func StartEtcd(t testing.TB, o EtcdOptions) *Etcd {
	t.Helper()
	Require(t, "etcd")
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	e, err := RunEtcd(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(e.logs())
		}
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// RunEtcd is StartEtcd for programs. ctx bounds the start, not the life.
func RunEtcd(ctx context.Context, o EtcdOptions) (*Etcd, error) {
	if err := Install(ctx, "etcd"); err != nil {
		return nil, err
	}
	// A port that was free a moment ago may be somebody's now.
	for try := 1; ; try++ {
		e, err := runEtcd(ctx, o)
		if err == nil {
			return e, nil
		}
		if !errors.Is(err, errPortTaken) || try == 5 {
			return nil, fmt.Errorf("start etcd: %w", err)
		}
	}
}

func runEtcd(ctx context.Context, o EtcdOptions) (_ *Etcd, err error) {
	o.Nodes = max(o.Nodes, 1)
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	e := &Etcd{o: o, dir: o.Dir, free: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Stop(), e.removeData())
		}
	}()
	if err := e.makeDir(); err != nil {
		return nil, err
	}
	if o.TLS {
		if e.certs, err = newCerts(e.dir, o.Host, o.User); err != nil {
			return nil, err
		}
	}
	if err := e.layOut(); err != nil {
		return nil, err
	}
	for i := range e.nodes {
		if err := e.start(i); err != nil {
			return nil, err
		}
	}
	for i := range e.nodes {
		if err := e.awaitHealthy(ctx, i); err != nil {
			return nil, err
		}
	}
	if o.User != "" {
		return e, e.enableAuth()
	}
	return e, nil
}

func (e *Etcd) makeDir() (err error) {
	if e.dir != "" {
		// Nodes run in it, so that a relative path would be another one there.
		if e.dir, err = filepath.Abs(e.dir); err != nil {
			return err
		}
		// Its members would look for each other at the ports they had.
		if _, err := os.Stat(filepath.Join(e.dir, "n0")); err == nil {
			return fmt.Errorf("%s holds the data of an earlier cluster: remove it", e.dir)
		}
		return os.MkdirAll(e.dir, 0o700)
	}
	e.ownDir = true
	e.dir, err = os.MkdirTemp("", "leaderrun-etcd-")
	return err
}

// removeData makes way for another try with other ports.
func (e *Etcd) removeData() error {
	var errs []error
	for _, n := range e.nodes {
		errs = append(errs, os.RemoveAll(filepath.Join(e.dir, n.name)))
	}
	return errors.Join(errs...)
}

// layOut fixes ports and command lines, which stay the same over restarts.
func (e *Etcd) layOut() error {
	ports, free, err := reservePorts(e.o.Host, 2*e.o.Nodes)
	if err != nil {
		return err
	}
	e.free = free
	var cluster []string
	for i := range e.o.Nodes {
		peer := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[2*i+1]))
		e.nodes = append(e.nodes, &etcdNode{
			name: "n" + strconv.Itoa(i),
			addr: net.JoinHostPort(e.o.Host, strconv.Itoa(ports[2*i])),
			peer: peer,
			log:  filepath.Join(e.dir, fmt.Sprintf("n%d.log", i)),
		})
		cluster = append(cluster, fmt.Sprintf("n%d=%s", i, peer))
	}
	for _, n := range e.nodes {
		n.args = e.args(n, strings.Join(cluster, ","))
	}
	return nil
}

// Stop ends every node, and removes the directory if it was a temporary one.
func (e *Etcd) Stop() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.nodes {
		n.kill()
	}
	e.free()
	if e.ownDir && e.dir != "" {
		return os.RemoveAll(e.dir)
	}
	return nil
}

// Endpoints returns each node's address for clients, host:port.
func (e *Etcd) Endpoints() []string {
	var list []string
	for _, n := range e.nodes {
		list = append(list, n.addr)
	}
	return list
}

// URL returns what `leaderrun --store` takes.
func (e *Etcd) URL() string {
	return "etcd://" + strings.Join(e.Endpoints(), ",") + "/leaderrun"
}

// CA returns the file of the authority's certificate; "" without TLS.
func (e *Etcd) CA() string { return e.certs.ca }

// ClientCert returns the file of a client's certificate; "" without TLS.
func (e *Etcd) ClientCert() string { return e.certs.clientCert }

// ClientKey returns the file of that certificate's key; "" without TLS.
func (e *Etcd) ClientKey() string { return e.certs.clientKey }

// Pid returns the node's process id, 0 while it is down.
func (e *Etcd) Pid(node int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.nodes[node]; n.up() {
		return n.proc.pid()
	}
	return 0
}

// logs returns the end of each node's log.
func (e *Etcd) logs() string {
	var b strings.Builder
	for _, n := range e.nodes {
		fmt.Fprintf(&b, "--- etcd %s, %s:\n%s\n", n.name, n.addr, n.logTail())
	}
	return b.String()
}
