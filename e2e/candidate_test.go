//go:build linux

package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A candidate is one leaderrun process.
type candidate struct {
	id     string
	pid    int
	log    string // file: its standard error
	out    string // file: its standard output
	cmd    *exec.Cmd
	done   chan struct{} // closed once it has been reaped
	status int           // as a shell says it; valid after done
	guard  int           // the newest guard seen, 0 if none was looked for
}

// spec is how a candidate differs from the usual one.
type spec struct {
	id      string
	ttl     time.Duration                               // longTTL
	store   string                                      // the election's URL
	flags   []string                                    // more flags of leaderrun
	env     []string                                    // more variables
	bin     string                                      // leaderrunBin
	command []string                                    // a child that only beats
	via     func(name string, args ...string) *exec.Cmd // exec.Command
	setup   func(*exec.Cmd)                             // the last word before it starts
}

// start starts a candidate in a session of its own, without a terminal: where
// the tests themselves were started from must not matter.
func (e *election) start(s spec) *candidate {
	e.t.Helper()
	c := &candidate{
		id: s.id, done: make(chan struct{}),
		log: filepath.Join(e.dir, s.id+".log"), out: filepath.Join(e.dir, s.id+".out"),
	}
	via := s.via
	if via == nil {
		via = exec.Command
	}
	argv := e.argv(s)
	c.cmd = via(argv[0], argv[1:]...)
	c.cmd.Env = append(cleanEnv(), s.env...)
	c.cmd.Stdout, c.cmd.Stderr = appendTo(e.t, c.out), appendTo(e.t, c.log)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	if s.setup != nil {
		s.setup(c.cmd)
	}
	if err := c.run(); err != nil {
		e.t.Fatal(err)
	}
	e.add(c)
	return c
}

// add makes a candidate known, also to who watches meanwhile.
func (e *election) add(c *candidate) {
	e.adding.Lock()
	defer e.adding.Unlock()
	e.candidates = append(e.candidates, c)
}

// supervisors are the candidates that run, whoever asks.
func (e *election) supervisors() (pids []int) {
	e.adding.Lock()
	defer e.adding.Unlock()
	for _, c := range e.candidates {
		if !c.ended() {
			pids = append(pids, c.pid)
		}
	}
	return pids
}

// argv is the command line of a candidate.
func (e *election) argv(s spec) []string {
	if s.ttl == 0 {
		s.ttl = longTTL
	}
	if s.store == "" {
		s.store = e.store.url
	}
	if s.bin == "" {
		s.bin = leaderrunBin
	}
	if s.command == nil {
		s.command = e.child()
	}
	flags := []string{s.bin, "--store", s.store, "--name", e.name, "--id", s.id, "--ttl", s.ttl.String(), "--log-format", "json"}
	return slices.Concat(flags, e.store.flags, s.flags, []string{"--"}, s.command)
}

// run starts the process from a thread that lives as long as it does: the
// parent-death signal, by which nothing outlives a killed test, is sent when the
// starting thread ends.
func (c *candidate) run() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := c.cmd.Start()
		if err == nil {
			c.pid = c.cmd.Process.Pid
		}
		if started <- err; err != nil {
			return
		}
		_ = c.cmd.Wait() // the state says it all
		ws := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if c.status = ws.ExitStatus(); ws.Signaled() {
			c.status = 128 + int(ws.Signal())
		}
		close(c.done)
	}()
	return <-started
}

func (c *candidate) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	kill(t, s, c.pid)
}

func (c *candidate) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// fate tells one that stopped its child and went on from one that was told to end,
// also where there is no log.
func (c *candidate) fate() string {
	if c.ended() {
		return fmt.Sprintf("ended with %d", c.status)
	}
	return cmp.Or(stateOf(c.pid), "gone")
}

// exits waits for the end of the candidate and asserts its status.
func (c *candidate) exits(t testing.TB, status int, limit time.Duration) {
	t.Helper()
	waitFor(t, c.id+" to exit", limit, c.ended)
	if c.status != status {
		t.Errorf("%s exited with %d, want %d", c.id, c.status, status)
	}
}

// theGuard returns the pid of the guard.
func (c *candidate) theGuard(t testing.TB) int {
	t.Helper()
	c.guard = guardOf(t, c.pid)
	return c.guard
}

// destroy ends the candidate with everything it may have left. A process id is
// looked at first: it may be somebody else's by now.
func (c *candidate) destroy(t testing.TB) {
	t.Helper()
	var pids []int
	if c.cmd == nil {
		if p, ok := readProc(c.pid); ok && isLeaderrun(p) {
			pids = append(pids, c.pid)
		}
	} else if !c.ended() {
		pids = append(pids, c.pid)
	}
	if len(pids) > 0 {
		for _, p := range childrenOf(t, c.pid) {
			if isSentinel(p) {
				continue // removes the cgroup, and ends
			}
			// Guards first: one that is left alone gives back what it can, which
			// would be in the way of removing the store.
			pids = slices.Insert(pids, 0, p.pid)
		}
	}
	if p, ok := readProc(c.guard); ok && isGuard(p) {
		pids = append(pids, c.guard) // was orphaned, perhaps stopped
	}
	kill(t, unix.SIGKILL, pids...)
	if c.cmd != nil {
		waitFor(t, c.id+" to be reaped", patient, c.ended)
	}
}

func appendTo(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return f
}

// cleanEnv is the tests' environment without what would change a candidate.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LEADERRUN_") || strings.HasPrefix(v, "ETCD") || strings.HasPrefix(v, "CONSUL_")
	})
}
