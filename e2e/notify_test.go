//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// How what is told to systemd can go wrong: it comes before it is true, or not at
// all; the watchdog is fed by a leaderrun that is stuck, or not by one whose store is
// away; a socket that is full, or gone, holds up a renewal, a kill or a hand-over. A
// systemd that acts on it is in systemd_test.go.

// A notified is the other end of a NOTIFY_SOCKET.
type notified struct {
	conn     *net.UnixConn
	mu       sync.Mutex
	messages []notice
}

type notice struct {
	at   instant
	text string
}

// notifySocket is read from at once.
func notifySocket(t testing.TB, address string) *notified {
	t.Helper()
	n := &notified{}
	var err error
	n.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	must(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = n.conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		for buf := make([]byte, 4096); ; {
			size, err := n.conn.Read(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.messages = append(n.messages, notice{now(), string(buf[:size])})
			n.mu.Unlock()
		}
	}()
	return n
}

func (n *notified) env() string { return "NOTIFY_SOCKET=" + n.conn.LocalAddr().String() }

// got are the messages so far.
func (n *notified) got() []notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.messages)
}

// gets waits for a message that has all of the parts, and returns it.
func (n *notified) gets(t testing.TB, parts ...string) (found notice) {
	t.Helper()
	if !poll(patient, func() bool {
		for _, m := range n.got() {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(m.text, part) }) {
				found = m
				return true
			}
		}
		return false
	}) {
		t.Fatalf("no message with %q: %+v", parts, n.got())
	}
	return found
}

// since are the times of the messages of this text from a moment on.
func (n *notified) since(text string, from instant) (times []instant) {
	for _, m := range n.got() {
		if m.text == text && m.at >= from {
			times = append(times, m.at)
		}
	}
	return times
}

const alive = "WATCHDOG=1"

// The unit is ready first, then each change is told; leaderrun leaves with a word,
// whether it is told to stop or its command ends.
func TestNotify(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@leaderrun-e2e-%d", os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			e := newElection(t, fileStore(t))
			toA, toB, toC := notifySocket(t, address), notifySocket(t, address+"-b"), notifySocket(t, address+"-c")
			a := e.start(spec{id: "a", env: []string{toA.env()}, flags: []string{"--stop-timeout", "60s"}})
			first := e.leads(a, nil)
			toA.gets(t, fmt.Sprintf("STATUS=leads %s since ", e.name), fmt.Sprintf(", fencing token %d", first.token))
			b := e.start(spec{id: "b", env: []string{toB.env()}, command: e.child("--exit", "3", "--after", "300ms")})
			toB.gets(t, "STATUS=stands by for "+e.name+"; a leads")
			c := e.start(spec{id: "c", env: []string{toC.env()}})
			c.standsBehind(t, "a", patient)
			c.signal(t, unix.SIGTERM)
			toC.gets(t, "STOPPING=1", "STATUS=stopping: received SIGTERM")
			a.signal(t, unix.SIGTERM)
			a.exits(t, 128+15, patient)
			b.exits(t, 3, patient)
			toA.gets(t, "STOPPING=1", "EXTEND_TIMEOUT_USEC=", "STATUS=stopping: received SIGTERM")
			toB.gets(t, "STATUS=leads "+e.name)
			toB.gets(t, "STOPPING=1", "STATUS=exiting")
			for _, n := range []*notified{toA, toB, toC} {
				for i, m := range n.got() {
					if (m.text == "READY=1") != (i == 0) || m.text == alive {
						t.Errorf("message %d of %+v", i, n.got())
					}
				}
			}
		})
	}
}

// As process 1 leaderrun speaks, too, by its child.
func TestNotifyProcessOne(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	n := notifySocket(t, filepath.Join(e.dir, "notify"))
	a, pid1 := e.inContainer(t, spec{id: "a", env: []string{n.env()}})
	e.leads(a, nil)
	n.gets(t, "STATUS=leads "+e.name)
	kill(t, unix.SIGTERM, pid1)
	a.exits(t, 128+15, patient)
	n.gets(t, "STOPPING=1")
}

// The watchdog is fed while a store that is away is campaigned for, and by nobody
// while the supervisor stands still.
func TestNotifyWatchdog(t *testing.T) {
	t.Parallel()
	const (
		ttl    = 3 * time.Second
		period = 2 * time.Second
		silent = 21 * time.Second // more than a leaderrun may be without a sign of progress
	)
	s := own(t, etcdKind, serverOptions{})
	e := newElection(t, s)
	n := notifySocket(t, filepath.Join(e.dir, "notify"))
	watched := []string{n.env(), fmt.Sprintf("WATCHDOG_USEC=%d", period.Microseconds())}
	a := e.start(spec{id: "a", ttl: ttl, env: watched, via: func(name string, args ...string) *exec.Cmd {
		return exec.Command("/bin/sh", append([]string{"-c", `WATCHDOG_PID=$$ exec "$@"`, "sh", name}, args...)...)
	}})
	first := e.leads(a, nil)
	must(t, s.Pause(0))
	away := now()
	pass(silent)
	e.dead(first)
	last := away
	for _, at := range append(n.since(alive, away), now()) {
		if gap := at.since(last); gap > period {
			t.Errorf("nothing fed the watchdog for %v, %v after the store was frozen", gap, last.since(away))
		}
		last = at
	}
	n.gets(t, "STATUS="+e.name+": store unavailable: ")
	must(t, s.Resume(0))
	second := e.leads(a, first)

	a.signal(t, unix.SIGSTOP)
	waitFor(t, "the supervisor to be stopped", patient, func() bool { return stateOf(a.pid) == "T" })
	stopped := now()
	e.dead(second)
	if fed := n.since(alive, stopped.add(50*time.Millisecond)); len(fed) > 0 {
		t.Errorf("fed %v after the supervisor was stopped", fed[0].since(stopped))
	}
	a.signal(t, unix.SIGCONT)
	continued := now()
	waitFor(t, "the watchdog to be fed again", patient, func() bool { return len(n.since(alive, continued)) > 0 })
}

// Who is not the unit's main process feeds nothing.
func TestNotifyWatchdogOfAnother(t *testing.T) {
	t.Parallel()
	const period = 300 * time.Millisecond
	e := newElection(t, fileStore(t))
	mine, others := notifySocket(t, filepath.Join(e.dir, "mine")), notifySocket(t, filepath.Join(e.dir, "others"))
	usec := fmt.Sprintf("WATCHDOG_USEC=%d", period.Microseconds())
	e.start(spec{id: "a", env: []string{mine.env(), usec}})
	e.start(spec{id: "b", env: []string{others.env(), usec, "WATCHDOG_PID=1"}})
	others.gets(t, "STATUS=")
	waitFor(t, "the watchdog to be fed for a while", patient, func() bool { return len(mine.since(alive, 0)) > 6 })
	if fed := others.since(alive, 0); len(fed) > 0 {
		t.Errorf("fed another's watchdog %d times", len(fed))
	}
}

// A socket that nobody reads from, full to the brim, or none at all: renewals, the
// kill and the hand-over are on time.
func TestNotifySocketStuck(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	for name, socket := range map[string]func(t *testing.T, path string){"full": fullSocket, "gone": func(*testing.T, string) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newElection(t, fileStore(t))
			path := filepath.Join(e.dir, "notify")
			socket(t, path)
			env := []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=200000"}
			a := e.start(spec{id: "a", ttl: ttl, env: env, command: e.wild()})
			first := e.leads(a, nil, everyRole...)
			b := e.start(spec{id: "b", ttl: ttl, env: env, command: e.tame()})
			b.standsBehind(t, "a", patient)
			e.goesOn(first, 2*ttl)
			fault := now()
			must(t, os.Remove(e.lockFile()))
			second := e.leads(b, first)
			e.diedAtOnce(first, fault)
			e.handedOver(first, second, prompt)
			a.standsBehind(t, "b", patient)
			told := now()
			b.signal(t, unix.SIGTERM)
			b.exits(t, 128+15, prompt)
			e.diedAtOnce(second, told)
			e.handedOver(second, e.leads(a, second, everyRole...), prompt)
		})
	}
}

// fullSocket makes a socket that nobody reads from and nothing more fits into.
func fullSocket(t *testing.T, path string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	for sent := 1; sent > 0; { // until not one more of a new sender
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { _ = unix.Close(fd) })
		for sent = 0; err == nil; sent++ {
			err = unix.Sendto(fd, []byte("full"), 0, &unix.SockaddrUnix{Name: path})
		}
		if sent--; !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
	}
}
