//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// badStderr are the ways in which a standard error takes nothing.
func badStderr() map[string]func(t *testing.T) *os.File {
	return map[string]func(t *testing.T) *os.File{
		"full":   fullPipe,
		"broken": brokenPipe,
		"closed": func(*testing.T) *os.File { return nil },
	}
}

// fullPipe is a pipe that is full and that nobody reads.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	_, w := pipe(t)
	// Filled through a description of its own: O_NONBLOCK belongs to the description.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", w.Fd()), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing is lost
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = unix.Write(fd, make([]byte, size))
		}
		if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
	}
	return w
}

// brokenPipe is a pipe whose reader is gone.
func brokenPipe(t *testing.T) *os.File {
	t.Helper()
	r, w := pipe(t)
	_ = r.Close()
	return w
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	w.Fd() // makes it blocking, as a shell's pipe is
	return r, w
}

// withStderr gives a candidate this standard error; nil is a closed one.
func withStderr(f *os.File) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Stderr = f
		if f == nil {
			cmd.Stderr = nil
			cmd.Args = append([]string{"sh", "-c", `exec "$@" 2>&-`, "sh"}, cmd.Args...)
			cmd.Path = "/bin/sh"
		}
	}
}

// A standard error that takes nothing delays no renewal: the child goes on for
// longer than a lease, and stops with its status when it is told to.
func TestStderrDelaysNoRenewal(t *testing.T) {
	t.Parallel()
	for name, open := range badStderr() {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(s *store) {
				t, ttl := s.t, s.lease(4*time.Second)
				e := newElection(t, s)
				flags := append([]string{"--log-level", "debug"}, littleGrace...)
				a := e.start(spec{id: "a", ttl: ttl, command: e.tame(), flags: flags, setup: withStderr(open(t))})
				first := e.leads(a, nil)
				b := e.start(spec{id: "b", ttl: ttl, setup: withStderr(open(t))})
				e.goesOn(first, ttl+time.Second)
				a.signal(t, unix.SIGUSR1)
				waitFor(t, "the child to get USR1", patient, func() bool { return len(e.signalsReceived()) == 1 })
				a.signal(t, unix.SIGTERM)
				second := e.leads(b, first)
				e.handedOver(first, second, prompt)
				a.exits(t, 128+15, patient)
				b.signal(t, unix.SIGTERM)
				b.exits(t, 128+15, patient)
			})
		})
	}
}

// Nor does it delay a kill, whoever has to do it.
func TestStderrDelaysNoKill(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	for name, open := range badStderr() {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(s *store) {
				t := s.t
				e := newElection(t, s)
				bad := func() func(*exec.Cmd) { return withStderr(open(t)) }
				a := e.start(spec{id: "a", command: e.wild(), setup: bad()})
				first := e.leads(a, nil, everyRole...)
				b := e.start(spec{id: "b", command: e.wild(), setup: bad()})
				b.theGuard(t)

				fault := now()
				s.breakages[0].do(e)
				leader, second := e.next(first, a, b)
				e.diedAtOnce(first, fault)
				e.handedOver(first, second, prompt)

				standby := map[*candidate]*candidate{a: b, b: a}[leader]
				standby.theGuard(t)
				fault = now()
				leader.signal(t, unix.SIGKILL)
				third := e.leads(standby, second, everyRole...)
				e.diedAtOnce(second, fault)
				e.handedOver(second, third, prompt)

				c := e.start(spec{id: "c", ttl: ttl, setup: bad()})
				c.theGuard(t)
				standby.signal(t, unix.SIGKILL)
				fourth := e.leads(c, third)
				e.diedInTime(fourth, freeze(t, c.pid), ttl)
			})
		})
	}
}

// A terminal with tostop stops a background process that writes to it. Not
// leaderrun: a stopped supervisor renews nothing.
func TestStderrTostop(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t, ttl := s.t, s.lease(4*time.Second)
		e := newElection(t, s)
		x := e.terminal()
		x.says("stty tostop; echo is$((40+2))", "is42")
		flags := append([]string{"--log-level", "debug"}, littleGrace...)
		a := x.starts(spec{id: "a", ttl: ttl, command: e.wild(), flags: flags}, " 2>/dev/tty &")
		first := e.leads(a, nil, everyRole...)
		b := e.start(spec{id: "b", ttl: ttl, command: e.wild()})
		b.standsBehind(t, "a", patient)
		e.goesOn(first, ttl+time.Second)
		if s := stateOf(a.pid); s == "T" {
			t.Error("the supervisor is stopped")
		}
		fault := now()
		s.breakages[0].do(e)
		_, second := e.next(first, a, b)
		e.diedAtOnce(first, fault)
		e.handedOver(first, second, prompt)
		a.signal(t, unix.SIGTERM)
		pass(100 * time.Millisecond)
		a.signal(t, unix.SIGINT) // it may lead again, with a child that ignores TERM
		a.gone(t, patient)
	})
}
