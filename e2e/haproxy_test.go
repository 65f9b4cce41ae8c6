//go:build linux

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// askers are clients of a service that moves from leader to leader. Each answer is the
// fencing token of the child that gave it.
type askers struct {
	address string
	quit    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	newest  uint64 // token that was answered
	good    int    // answers, of whoever leads
	refused int    // requests that nobody answered
	stale   []string
}

func startAskers(address string, n int) *askers {
	a := &askers{address: address, quit: make(chan struct{})}
	for range n {
		a.running.Go(a.ask)
	}
	return a
}

func (a *askers) stop() {
	close(a.quit)
	a.running.Wait()
}

func (a *askers) ask() {
	for {
		select {
		case <-a.quit:
			return
		case <-time.After(10 * time.Millisecond):
		}
		before, _, _ := a.seen() // who is asked from now on must be no older
		status, body := get(a.address, "/")
		var token uint64
		var candidate string
		_, err := fmt.Sscan(body, &token, &candidate)
		a.note(status == http.StatusOK && err == nil, token, before, body)
	}
}

func (a *askers) note(good bool, token, before uint64, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !good:
		a.refused++
		return
	case token < before:
		a.stale = append(a.stale, fmt.Sprintf("%d had answered, and then %q", before, body))
	}
	a.good++
	a.newest = max(a.newest, token)
}

func (a *askers) seen() (newest uint64, good, refused int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.newest, a.good, a.refused
}

// HAProxy sends requests where /leader says yes, through ten handovers, every other of
// them by SIGKILL. Nobody but the newest leader answers, and once that one has, every
// request gets through: none is sent to a standby.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	const handovers = 10
	bin := debian(t, "haproxy", "haproxy")
	e := newElection(t, fileStore(t))
	front := freeAddress(t)
	type host struct{ id, listen, service string }
	var config strings.Builder
	fmt.Fprintf(&config, `
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
  timeout check 1s
frontend service
  bind %s
  default_backend leader
backend leader
  option httpchk GET /leader
  default-server check inter 50ms rise 1 fall 1
`, front)
	var hosts []host
	for _, id := range []string{"a", "b"} {
		h := host{id, freeAddress(t), freeAddress(t)}
		hosts = append(hosts, h)
		_, port, err := net.SplitHostPort(h.listen)
		must(t, err)
		fmt.Fprintf(&config, "  server %s %s port %s\n", id, h.service, port)
	}
	start := func(h host) *candidate {
		return e.start(spec{id: h.id, flags: []string{"--listen", h.listen}, command: e.child("--serve", h.service)})
	}
	leader, standby := start(hosts[0]), (*candidate)(nil)
	n := e.leads(leader, nil)
	standby = start(hosts[1])
	standby.standsBehind(t, leader.id, patient)
	e.put("haproxy.cfg", config.String())
	e.server("haproxy", front, bin, "-db", "-f", filepath.Join(e.dir, "haproxy.cfg"))

	a := startAskers(front, 4)
	defer a.stop()
	for i := range handovers {
		waitFor(t, fmt.Sprintf("an answer of token %d", n.token), patient, func() bool { newest, _, _ := a.seen(); return newest == n.token })
		pass(100 * time.Millisecond) // the standby's check, too, is newer than the handover
		_, good, refused := a.seen()
		waitFor(t, "fifty answers", patient, func() bool { _, now, _ := a.seen(); return now >= good+50 })
		// If the standby were asked, every other one. A loaded machine may miss a check.
		if _, _, now := a.seen(); now-refused > 10 {
			t.Errorf("handover %d: %d of some 50 requests got no answer while %s led", i, now-refused, leader.id)
		}
		sig := []syscall.Signal{unix.SIGTERM, unix.SIGKILL}[i%2]
		leader.signal(t, sig)
		waitFor(t, leader.id+" to exit", patient, leader.ended)
		h := hosts[i%2]
		next := e.leads(standby, n)
		e.handedOver(n, next, prompt)
		leader, standby, n = standby, start(h), next
		standby.says(t, standingBy, 1, patient)
	}
	waitFor(t, "an answer of the last", patient, func() bool { newest, _, _ := a.seen(); return newest == n.token })
	_, good, refused := a.seen()
	t.Logf("%d requests were answered, %d were not", good, refused)
	for _, s := range a.stale {
		t.Error(s)
	}
}
