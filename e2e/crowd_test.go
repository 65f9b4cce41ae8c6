//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// A crowd is slow and hostile clients of --listen, who come again soon when they are
// thrown out.
type crowd struct {
	address atomic.Value // string: where to go; "" for nowhere
	quit    chan struct{}
	running sync.WaitGroup
	there   atomic.Int64 // connected now
	came    atomic.Int64 // connections in all
}

// What a client of a crowd does with its connection.
var manners = []func(*crowd, net.Conn) error{
	// Nothing.
	func(c *crowd, conn net.Conn) error { return c.gone(conn) },
	// One byte of a request every now and then.
	func(c *crowd, conn net.Conn) error {
		for _, b := range []byte("GET /leader HTTP/1.1\r\nHost: me\r\nX-Header: " + strings.Repeat("x", 1000)) {
			if _, err := conn.Write([]byte{b}); err != nil || !c.rests(500*time.Millisecond) {
				return err
			}
		}
		return nil
	},
	// Requests whose answers are not read.
	func(c *crowd, conn net.Conn) error {
		for range 20 {
			if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: me\r\n\r\n"); err != nil || !c.rests(500*time.Millisecond) {
				return err
			}
		}
		return nil
	},
	// A header without an end.
	func(c *crowd, conn net.Conn) error {
		_, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: me\r\n")
		for n := 0; err == nil && n < 100; n++ {
			_, err = fmt.Fprintf(conn, "X-%d: %s\r\n", n, strings.Repeat("x", 500))
		}
		return errors.Join(err, c.gone(conn))
	},
	// A body that nobody wants.
	func(c *crowd, conn net.Conn) error {
		_, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: me\r\nContent-Length: 1000000000\r\n\r\n")
		for err == nil && c.rests(100*time.Millisecond) {
			_, err = conn.Write(make([]byte, 64<<10))
		}
		return err
	},
}

func startCrowd(n int) *crowd {
	c := &crowd{quit: make(chan struct{})}
	c.address.Store("")
	for i := range n {
		c.running.Go(func() {
			for c.rests(rand.N(3 * time.Second)) {
				conn, err := net.DialTimeout("tcp", c.address.Load().(string), time.Second)
				if err != nil {
					continue
				}
				c.came.Add(1)
				c.there.Add(1)
				_ = manners[i%len(manners)](c, conn) // it is thrown out: that is what this is about
				c.there.Add(-1)
				_ = conn.Close()
			}
		})
	}
	return c
}

func (c *crowd) stop() {
	close(c.quit)
	c.running.Wait()
}

// rests reports whether the crowd goes on after d.
func (c *crowd) rests(d time.Duration) bool {
	select {
	case <-c.quit:
		return false
	case <-time.After(d):
		return true
	}
}

// gone waits until the other side has closed.
func (c *crowd) gone(conn net.Conn) error {
	for c.rests(0) {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// A thousand slow clients: renewals go on, no more than so many descriptors are taken,
// whoever asks properly is answered at once, the tree is dead in time when the lease is
// revoked or the store hangs, and leaderrun ends when told to.
//
// Not beside other tests, whose timing so many clients would disturb.
func TestSlowClients(t *testing.T) {
	const clients, ttl = 1000, 5 * time.Second
	s := own(t, etcdKind, serverOptions{})
	e := newElection(t, s)
	a := e.start(spec{id: "a", ttl: ttl, flags: append([]string{"--stop-timeout", "1s"}, listening...), command: e.wild()})
	first := e.leads(a, nil, everyRole...)
	before := descriptorsOf(a.pid)
	c := startCrowd(clients)
	defer c.stop()
	c.address.Store(a.address(t))
	waitFor(t, "every client to have come", patient, func() bool { return c.came.Load() >= clients })

	asked, unanswered, slowest := 0, 0, time.Duration(0)
	staysTrue(t, "it leads, and says so", 2*ttl, func() bool {
		begin := now()
		status, _ := get(a.address(t), "/leader")
		if asked++; status == 0 {
			unanswered++
		}
		slowest = max(slowest, now().since(begin))
		return (status == http.StatusOK || status == 0) && descriptorsOf(a.pid) <= before+64+8
	})
	e.beatsAgain(first)
	if unanswered > asked/20 { // all, if a crowd could keep others out
		t.Errorf("%d of %d questions were not answered", unanswered, asked)
	}
	t.Logf("%d questions, the slowest answered after %v; %d connections in all, %d at the end; %d descriptors before, %d now; %v of processor time",
		asked, slowest, c.came.Load(), c.there.Load(), before, descriptorsOf(a.pid), processorTime(t, a.pid))
	if failures, _ := a.metric(t, "leaderrun_renewal_failures_total"); failures > 0 {
		t.Errorf("%v renewals failed", failures)
	}

	fault := now()
	s.breakages[0].do(e)
	if took := e.dead(first).since(fault); took > prompt {
		t.Errorf("the tree died %v after the lease was revoked", took)
	}
	second := e.leads(a, first, everyRole...)
	renewed(ttl)
	must(t, s.Pause(0))
	e.diedInTime(second, now(), ttl)
	must(t, s.Resume(0))
	e.leads(a, second)
	a.signal(t, unix.SIGTERM)
	a.exits(t, 128+9, time.Second+prompt)
}

// Where descriptors are few, a crowd leaves enough of them to reach the store anew.
func TestSlowClientsFewDescriptors(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	s := shared(t, etcdKind)
	proxy := servers.NewProxy(t, s.Endpoints()[0])
	e := newElection(t, s)
	a := e.start(spec{
		id: "a", ttl: ttl, store: s.at(proxy.Addr()), flags: listening, command: e.tame(),
		via: func(name string, args ...string) *exec.Cmd {
			return exec.Command("prlimit", append([]string{"--nofile=40:40", name}, args...)...)
		},
	})
	first := e.leads(a, nil)
	c := startCrowd(100)
	defer c.stop()
	c.address.Store(a.address(t))
	waitFor(t, "the crowd", patient, func() bool { return c.came.Load() >= 100 })
	for range 3 {
		proxy.Reset()
		staysTrue(t, "some descriptors are left", ttl/2, func() bool { return descriptorsOf(a.pid) < 40-5 })
	}
	e.goesOn(first, ttl)
}

// processorTime is what a process has used since its start.
func processorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	fields := strings.Fields(afterName(readFile(fmt.Sprintf("/proc/%d/stat", pid))))
	if len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	must(t, errors.Join(err1, err2))
	return time.Duration(user+system) * 10 * time.Millisecond
}
