//go:build linux

package e2e

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Ctrl-C reaches the child alone, once, and the shell gets its terminal back.
func TestTerminalInterrupt(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		x := e.terminal()
		a := x.starts(spec{id: "a", command: e.tame()}, "")
		first := e.leads(a, nil)
		x.types(ctrlC)
		x.shows("ready> ")
		x.says("echo status=$?", "status=130")
		e.childGot(first, "SIGINT")
		a.says(t, released, 1, patient)
	})
}

// The child reads the terminal.
func TestTerminalInput(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	x := e.terminal()
	a := x.starts(spec{id: "a", command: e.child("--echo-stdin")}, "")
	e.leads(a, nil)
	x.types("hello\n")
	x.shows("hello\r\nhello\r\n") // the terminal's echo and the child's
	x.types(ctrlD)
	x.shows("ready> ")
	x.says("echo status=$?", "status=0")
}

// Ctrl-Z stops child and supervisor; fg and bg continue the same child.
func TestTerminalSuspend(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		x := e.terminal()
		a := x.starts(spec{id: "a"}, "")
		first := e.leads(a, nil)
		child := first.mains[0]
		x.suspends(a, child)
		x.resumes("fg", first)
		foreground(t, child)
		x.suspends(a, child)
		x.resumes("bg", first)
		x.shows("ready> ")
		x.says("echo the shell$((40+2))", "the shell42")
		x.brings(a)
		x.suspends(a, child) // the terminal signalled leaderrun only: bash told nobody of that fg
		x.resumes("fg", first)
		foreground(t, child)
		x.types(ctrlC)
		x.shows("ready> ")
		x.says("echo status=$?", "status=130")
		if e.history.read(t); len(e.history.tenures) != 1 {
			t.Errorf("more than one tenure:\n%v", e.history)
		}
	})
}

// A child that stays stopped is killed at the deadline, and another leads.
func TestTerminalSuspendedTooLong(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		const ttl = 3 * time.Second
		e := newElection(t, s)
		x := e.terminal()
		a := x.starts(spec{id: "a", ttl: ttl}, "")
		first := e.leads(a, nil)
		b := e.start(spec{id: "b", ttl: ttl})
		b.standsBehind(t, "a", patient)
		x.suspends(a, first.mains[0])
		fault := now()
		waitFor(t, "the stopped child to be killed", ttl+prompt, func() bool { return len(e.aliveOf(first)) == 0 })
		if took := now().since(fault); took > ttl {
			t.Errorf("the stopped child was killed after %v, the lease of %v was over", took, ttl)
		}
		e.handedOver(first, e.leads(b, first), ttl+5*time.Second)
		x.brings(a)
		a.campaignsAgain(t, patient)
		a.standsBehind(t, "b", patient)
		x.types(ctrlC)
		x.shows("ready> ")
		a.gone(t, patient)
	})
}

// `leaderrun ... &` takes no terminal away; after fg it has it.
func TestBackground(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		x := e.terminal()
		a := x.starts(spec{id: "a", command: e.tame()}, " &")
		first := e.leads(a, nil)
		x.says("echo the shell$((40+2))", "the shell42")
		x.types(ctrlC) // for the shell, which shrugs
		x.shows("ready> ")
		pass(100 * time.Millisecond)
		e.beatsAgain(first)
		x.brings(a)
		x.types(ctrlC)
		x.shows("ready> ")
		x.says("echo status=$?", "status=130")
		e.childGot(first, "SIGINT")
	})
}

// A child in the background that reads the terminal is stopped by it, and goes on
// once it is brought to the foreground.
func TestBackgroundReads(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	x := e.terminal()
	a := x.starts(spec{id: "a", command: e.child("--echo-stdin")}, " &")
	child := a.says(t, childStarted, 1, patient).pid(t)
	stopped(t, child)
	stopped(t, a.pid)
	x.says("jobs", "[1]+  Stopped")
	x.types("fg\n")
	foreground(t, child)
	x.types("hello\n")
	x.shows("hello\r\nhello\r\n")
	x.types(ctrlD)
	x.shows("ready> ")
	x.says("echo status=$?", "status=0")
}

// A terminal that goes away ends leader and standby alike.
func TestTerminalLost(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	x, y := e.terminal(), e.terminal()
	a := x.starts(spec{id: "a"}, "")
	first := e.leads(a, nil)
	b := y.starts(spec{id: "b"}, "")
	b.standsBehind(t, "a", patient)
	_ = y.master.Close()
	b.gone(t, patient)
	_ = x.master.Close()
	a.gone(t, patient)
	e.dead(first)
}

// A script that puts leaderrun into the background: there INT and QUIT are
// ignored and stay so, and the status is the child's.
func TestScriptBackground(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a := e.start(spec{id: "a", via: func(name string, args ...string) *exec.Cmd {
			return exec.Command("/bin/sh", append([]string{
				"-c", `"$@" & trap 'kill $!' USR1; wait $!; wait $!; exit $?`, "sh", name,
			}, args...)...)
		}})
		first := e.leads(a, nil)
		if !ignores(t, first.mains[0], unix.SIGINT) {
			t.Error("the child does not ignore INT")
		}
		a.signal(t, unix.SIGUSR1)
		a.exits(t, 128+15, patient)
	})
}

// Under nohup the lost terminal's HUP ends neither leaderrun nor the child.
func TestNohup(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a := e.start(spec{id: "a", via: func(name string, args ...string) *exec.Cmd {
			return exec.Command("nohup", append([]string{name}, args...)...)
		}})
		first := e.leads(a, nil)
		kill(t, unix.SIGHUP, a.pid, a.theGuard(t), first.mains[0])
		staysTrue(t, "the child lives", time.Second, func() bool { return e.beating(first) && !a.ended() })
		if !ignores(t, first.mains[0], unix.SIGHUP) {
			t.Error("the child does not ignore HUP")
		}
		a.signal(t, unix.SIGTERM)
		a.exits(t, 128+15, patient)
	})
}
