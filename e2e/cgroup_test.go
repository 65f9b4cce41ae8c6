//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var errNoCgroup = errors.New("no cgroup v2 that may be written to")

// ownCgroup is the directory of the tests' own cgroup v2, if cgroups may be made in
// it; leaderrun then does, too.
var ownCgroup = sync.OnceValues(func() (string, error) {
	_, own, _ := strings.Cut("\n"+readFile("/proc/self/cgroup"), "\n0::")
	own, _, _ = strings.Cut(own, "\n")
	for line := range strings.Lines(readFile("/proc/self/mounts")) {
		f := strings.Fields(line)
		if f[2] != "cgroup2" {
			continue
		}
		dir := filepath.Join(f[1], own)
		probe, err := os.MkdirTemp(dir, "probe-")
		if err != nil {
			return "", err
		}
		_, err = os.Stat(filepath.Join(probe, "cgroup.kill"))
		return dir, errors.Join(err, os.Remove(probe))
	}
	return "", errNoCgroup
})

// A cgroup is one that a test made; its children's are below it.
type cgroup string

func newCgroup(t testing.TB) cgroup {
	t.Helper()
	own, err := ownCgroup()
	if err != nil {
		without(t, "cgroup", err)
	}
	dir := filepath.Join(own, cgroupName())
	must(t, os.Mkdir(dir, 0o700))
	t.Cleanup(func() {
		waitFor(t, "the cgroup to be removed", patient, func() bool {
			// A supervisor that is killed before it has started a sentinel leaves one.
			below, _ := filepath.Glob(filepath.Join(dir, "leaderrun-*"))
			for _, left := range below {
				_ = os.Remove(left)
			}
			return os.Remove(dir) == nil
		})
	})
	return cgroup(dir)
}

var cgroupsMade atomic.Int64

func cgroupName() string { return fmt.Sprintf("test-%d-%d", os.Getpid(), cgroupsMade.Add(1)) }

func (c cgroup) write(t testing.TB, file, value string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(string(c), file), []byte(value), 0o600))
}

// setup makes a candidate start in the cgroup.
func (c cgroup) setup(t testing.TB) func(*exec.Cmd) {
	t.Helper()
	dir, err := os.Open(string(c))
	must(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	return func(cmd *exec.Cmd) {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
}

// freeze freezes the cgroup with all that is below it.
func (c cgroup) freeze(t testing.TB) instant {
	t.Helper()
	c.write(t, "cgroup.freeze", "1")
	waitFor(t, "the cgroup to be frozen", patient, func() bool {
		return strings.Contains(readFile(filepath.Join(string(c), "cgroup.events")), "frozen 1")
	})
	return now()
}

func (c cgroup) thaw(t testing.TB) {
	t.Helper()
	c.write(t, "cgroup.freeze", "0")
}

// treeRoles are the roles of a wild child, where a cgroup lets its whole tree die
// with supervisor and guard; else its command is that of a tame one.
func (e *election) treeRoles() (command, roles []string) {
	if _, err := ownCgroup(); err != nil {
		e.t.Logf("the direct child only: %v", err)
		return e.child(), nil
	}
	return e.wild(), everyRole
}

// cgroupOf is what /proc says of a process's cgroup v2.
func cgroupOf(pid int) string {
	_, path, _ := strings.Cut("\n"+readFile(fmt.Sprintf("/proc/%d/cgroup", pid)), "\n0::")
	path, _, _ = strings.Cut(path, "\n")
	return path
}

// The tree is in a cgroup of its own, which is removed with it, whoever ends it;
// leaderrun's other processes stay where they were.
func TestCgroup(t *testing.T) {
	t.Parallel()
	for name, kills := range map[string]func(a *candidate) []int{
		"supervisor": func(a *candidate) []int { return []int{a.pid} },
		"guard":      func(a *candidate) []int { return []int{a.guard} },
		"both":       func(a *candidate) []int { return []int{a.pid, a.guard} },
	} {
		t.Run(name, func(t *testing.T) {
			group := newCgroup(t) // outlives the election
			e := newElection(t, fileStore(t))
			a := e.start(spec{id: "a", command: e.wild(), setup: group.setup(t)})
			first := e.leads(a, nil, everyRole...)
			in := cgroupOf(first.mains[0])
			for _, p := range e.aliveOf(first) {
				if got := cgroupOf(p.pid); got != in || !strings.Contains(in, "/leaderrun-"+strconv.Itoa(a.pid)) {
					t.Errorf("%v is in %s, its parent in %s", p.args, got, in)
				}
			}
			if got := cgroupOf(a.theGuard(t)); strings.Contains(got, "/leaderrun-") {
				t.Errorf("the guard is in %s", got)
			}
			fault := now()
			kill(t, unix.SIGKILL, kills(a)...)
			e.diedAtOnce(first, fault)
			waitFor(t, in+" to be removed", patient, func() bool {
				_, err := os.Stat(filepath.Join(string(group), filepath.Base(in)))
				return err != nil
			})
		})
	}
}

// The sentinel keeps nothing open that others wait for: with supervisor and guard
// killed, a reader of leaderrun's output sees its end, and the flock is free.
func TestSentinelHoldsNothing(t *testing.T) {
	t.Parallel()
	group := newCgroup(t)
	e := newElection(t, fileStore(t))
	r, w, err := os.Pipe()
	must(t, err)
	a := e.start(spec{id: "a", command: e.wild(), setup: func(c *exec.Cmd) {
		group.setup(t)(c)
		c.Stdout, c.ExtraFiles = w, []*os.File{w}
	}})
	must(t, w.Close())
	first := e.leads(a, nil, everyRole...)
	b := e.start(spec{id: "b"})
	b.standsBehind(t, "a", patient)
	var sentinel int
	waitFor(t, "the sentinel", patient, func() bool {
		for _, p := range childrenOf(t, a.pid) {
			if isSentinel(p) {
				sentinel = p.pid
			}
		}
		return sentinel != 0
	})
	kill(t, unix.SIGSTOP, sentinel) // it can let go of nothing from now on
	guard := a.theGuard(t)
	kill(t, unix.SIGKILL, a.pid, guard)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = r.Read(make([]byte, 1))
	}()
	e.killTree(first) // which only the sentinel would end
	select {
	case <-ended:
	case <-time.After(patient):
		t.Error("the pipe is still open")
	}
	e.handedOver(first, e.leads(b, first), prompt+settling)
	kill(t, unix.SIGCONT, sentinel)
}

// killTree ends the processes of a tenure as nobody else does.
func (e *election) killTree(n *tenure) {
	e.t.Helper()
	waitFor(e.t, fmt.Sprintf("the end of token %d", n.token), patient, func() bool {
		left := e.aliveOf(n)
		for _, p := range left {
			kill(e.t, unix.SIGKILL, p.pid)
		}
		return len(left) == 0
	})
}

// A cgroup that was killed once, as a container runtime may do before it starts us in
// it: from there, nobody lives who is born into another one (see guard's renew).
func TestStartedInAKilledCgroup(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	c := newCgroup(t)
	c.write(t, "cgroup.kill", "1")
	a := e.start(spec{id: "a", command: e.child("--exit", "3"), setup: func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, string(c)}, cmd.Args...)
		cmd.Path = "/bin/sh"
	}})
	a.exits(t, 3, patient)
}
