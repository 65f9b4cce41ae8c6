//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A proc is one process as /proc shows it.
type proc struct {
	pid, ppid int
	state     string // R, S, T (stopped), Z, ...
	args      []string
}

func readProc(pid int) (proc, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err1 := os.ReadFile(filepath.Join(dir, "stat"))
	cmdline, err2 := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err1 != nil || err2 != nil {
		return proc{}, false // has ended
	}
	f := strings.Fields(afterName(string(stat)))
	ppid, _ := strconv.Atoi(f[1])
	args := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	return proc{pid, ppid, f[0], args}, true
}

// afterName cuts off a stat file's first fields: a name may hold spaces and brackets.
func afterName(stat string) string { return stat[strings.LastIndexByte(stat, ')')+1:] }

func processes(t testing.TB) []proc {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var all []proc
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := readProc(pid); ok && p.state != "Z" {
				all = append(all, p)
			}
		}
	}
	return all
}

// treeOf returns the processes of testdata/child that carry dir in their
// arguments: everything that the tenures of one test have left, wherever it went.
func treeOf(t testing.TB, dir string) []proc {
	t.Helper()
	return slices.DeleteFunc(processes(t), func(p proc) bool {
		return p.args[0] != childBin || !strings.Contains(strings.Join(p.args, "\x00"), dir)
	})
}

func childrenOf(t testing.TB, pid int) []proc {
	t.Helper()
	return slices.DeleteFunc(processes(t), func(p proc) bool { return p.ppid != pid })
}

// guardOf waits for the guard of a supervisor.
func guardOf(t testing.TB, supervisor int) int {
	t.Helper()
	var guard int
	waitFor(t, fmt.Sprintf("the guard of %d", supervisor), patient, func() bool {
		for _, p := range childrenOf(t, supervisor) {
			if isGuard(p) {
				guard = p.pid
			}
		}
		return guard != 0
	})
	return guard
}

func isGuard(p proc) bool {
	return isLeaderrun(p) && strings.Contains(strings.Join(p.args[:min(2, len(p.args))], " "), "guard")
}

func isSentinel(p proc) bool { return isLeaderrun(p) && len(p.args) > 1 && p.args[1] == "sentinel" }

func isLeaderrun(p proc) bool {
	return strings.Contains(p.args[0], "leaderrun") || strings.HasPrefix(p.args[0], "/proc/")
}

func parentIs(p proc, name string) bool {
	parent, ok := readProc(p.ppid)
	return ok && parent.args[0] == name
}

func stateOf(pid int) string {
	p, _ := readProc(pid)
	return p.state
}

// environOf returns the environment that a process was started with.
func environOf(pid int) []string {
	return strings.Split(readFile(fmt.Sprintf("/proc/%d/environ", pid)), "\x00")
}

// readFile returns "" for what is not there.
func readFile(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

// statusField reads a line such as SigIgn of /proc/PID/status.
func statusField(t testing.TB, pid int, name string) string {
	t.Helper()
	_, after, ok := strings.Cut(readFile(fmt.Sprintf("/proc/%d/status", pid)), "\n"+name+":")
	if !ok {
		t.Fatalf("no %s of pid %d", name, pid)
	}
	value, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(value)
}

// ignores tells whether a process ignores a signal.
func ignores(t testing.TB, pid int, s syscall.Signal) bool {
	t.Helper()
	mask, err := strconv.ParseUint(statusField(t, pid, "SigIgn"), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask&(1<<(s-1)) != 0
}

// kill sends s to several processes as close to each other as one can.
func kill(t testing.TB, s syscall.Signal, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := unix.Kill(pid, s); err != nil && err != unix.ESRCH {
			t.Fatalf("kill -%s %d: %v", unix.SignalName(s), pid, err)
		}
	}
}
