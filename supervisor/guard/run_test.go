//go:build linux

package guard

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock/bootclock"
)

func TestExitStatus(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 3": 3, "kill -SEGV $$": 139} {
		g := start(t, []string{"/bin/sh", "-c", script})
		res := g.Command(Command{}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {})
		if res.Cause != Exited || res.ExitCode() != want {
			t.Errorf("%s: %+v, exit code %d, want %d", script, res, res.ExitCode(), want)
		}
	}
}

// The child's end is the end of all that it started.
func TestNothingIsLeftAfterTheChildsExit(t *testing.T) {
	argv, pids := tree(t)
	argv[2] = strings.Replace(argv[2], "while :; do sleep 1000; done", "while ! [ -f daemon ] || ! [ -f session ] || ! [ -f child ]; do :; done", 1)
	g := start(t, argv)
	res := g.Command(Command{}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {})
	if res.Cause != Exited || res.ExitCode() != 0 {
		t.Errorf("result %+v", res)
	}
	mustBeDead(t, pids())
}

func TestContextKillsTheTree(t *testing.T) {
	argv, pids := tree(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := background(ctx, start(t, argv), lasting(time.Minute))
	found := pids()
	cancel()
	if res := <-done; res.Cause != Killed {
		t.Errorf("result %+v", res)
	}
	mustBeDead(t, found)
}

// Nobody but the guard knows of the deadline here.
func TestGuardKeepsTheDeadlineAlone(t *testing.T) {
	argv, pids := tree(t)
	tenure := lasting(700 * time.Millisecond)
	done := background(t.Context(), start(t, argv), tenure)
	found := pids()
	if res := <-done; res.Cause != Deadline {
		t.Errorf("result %+v", res)
	}
	if early := tenure.until.Until(); early > 0 {
		t.Errorf("killed %v before the deadline", early)
	}
	mustBeDead(t, found)
}

func TestDeadlineMovesForwardOnly(t *testing.T) {
	g := start(t, []string{"/bin/sh", "-c", "sleep 0.8"})
	started := make(chan int, 1)
	done := make(chan Result, 1)
	go func() {
		done <- g.Command(Command{}).Run(t.Context(), lasting(400*time.Millisecond), func(pid int, _ uint64) { started <- pid })
	}()
	select {
	case <-started:
	case res := <-done:
		t.Fatalf("result %+v before it could be told anything", res)
	}
	if err := send(g.control, order{Do: doDeadline, Deadline: bootclock.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if err := send(g.control, order{Do: doDeadline, Deadline: bootclock.Now()}); err != nil {
		t.Fatal(err)
	}
	if res := <-done; res.Cause != Exited || res.ExitCode() != 0 {
		t.Errorf("result %+v, want exit 0 after a deadline that moved away and does not come back", res)
	}
}

func TestNoStartAfterTheDeadline(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "started")
	g := start(t, []string{"/bin/sh", "-c", "touch " + mark})
	over := lasting(time.Minute)
	close(over.lost)
	if res := g.Command(Command{}).Run(t.Context(), over, func(int, uint64) {}); res.Cause != NotStarted {
		t.Errorf("result %+v of a tenure lost before", res)
	}
	const past = time.Millisecond
	began := bootclock.Now()
	res := g.Command(Command{}).Run(t.Context(), lasting(-past), func(int, uint64) {})
	took := bootclock.Now().Sub(began)
	// On a busy machine the kernel's timer may end the guard before it gets to say why.
	timed := res.Cause == GuardDied && took >= selfKillSlack-past
	if _, err := os.Stat(mark); err == nil || !timed && (res.Cause != NotStarted || res.Errno != syscall.ETIME) {
		t.Errorf("result %+v after %v, started: %v", res, took, err == nil)
	}
}

func TestNotStarted(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]syscall.Errno{filepath.Join(dir, "none"): syscall.ENOENT, plain: syscall.EACCES} {
		res := start(t, []string{path}).Command(Command{}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {})
		if res.Cause != NotStarted || !errors.Is(res.Errno, want) {
			t.Errorf("%s: %+v, want %v", path, res, want)
		}
	}
}

// The guard may run before ordinary processes, the child does not: unless somebody
// wants it so, it is one.
func TestChildRunsAsAnyOther(t *testing.T) {
	g := start(t, []string{"/bin/sleep", "1000"})
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan int, 1), make(chan Result, 1)
	go func() {
		done <- g.Command(Command{}).Run(ctx, lasting(time.Minute), func(pid int, _ uint64) { started <- pid })
	}()
	of := func(pid int) (s [2]int64) {
		attr, err := unix.SchedGetAttr(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		return [2]int64{int64(attr.Policy), int64(attr.Nice)}
	}
	child, ours := of(<-started), of(0)
	if child != ours {
		t.Errorf("policy and nice value %v, want our own %v; the guard has %v", child, ours, of(g.pid))
	}
	cancel()
	<-done
}

// execvp(3) runs a script without #! with the shell; so do env and nohup.
func TestScriptWithoutInterpreter(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("exit $1\n"), 0o700); err != nil { //nolint:gosec // an executable
		t.Fatal(err)
	}
	res := start(t, []string{script, "7"}).Command(Command{}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {})
	if res.ExitCode() != 7 {
		t.Errorf("result %+v, exit code %d", res, res.ExitCode())
	}
}
