package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestFindCgroup(t *testing.T) {
	const hybrid = "6:freezer:/\n1:name=systemd:/x\n"
	for _, c := range []struct{ in, mounts, want string }{
		{"0::/a.slice/b\n", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/a.slice/b"},
		{hybrid + "0::/\n", "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified"},
		{"0::/docker/1f\n", "41 31 0:38 /docker/1f /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "/sys/fs/cgroup"},
		{"0::/docker/1f/x\n", "41 31 0:38 /docker/1f /mnt/a\\040b rw - cgroup2 cgroup rw\n", "/mnt/a b/x"},
		{"0::/docker/1f\n", "41 31 0:38 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw\n", ""},
		{"0::/../host\n", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", ""},
		{"0::/\n", "41 31 0:38 /.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n", ""}, // unshare -C
		{"0::/a\n", "41 31 0:38 /../.. /mnt rw - cgroup2 cgroup rw\n42 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "/sys/fs/cgroup/a"},
		{hybrid, "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", ""},
		{"0::/\n", "33 31 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", ""},
	} {
		if got := findCgroup(c.in, c.mounts); got != c.want {
			t.Errorf("%q in %q: %q, want %q", c.in, c.mounts, got, c.want)
		}
	}
}

// needCgroup skips the test, or where servers.RequireEnv names cgroup fails it,
// unless one may be made here.
func needCgroup(t *testing.T) {
	t.Helper()
	if c := makeCgroup(); c != nil {
		c.remove()
		return
	}
	without(t, "cgroup")
}

// cgroupOf is the directory of a process's cgroup.
func cgroupOf(t *testing.T, pid int) string {
	t.Helper()
	in, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return findCgroup(string(in), string(mounts))
}

// The whole tree is in a cgroup of its own, below ours, which goes with it; so do
// cgroups that the tree made.
func TestTreeHasItsOwnCgroup(t *testing.T) {
	needCgroup(t)
	argv, pids := tree(t)
	g := start(t, argv)
	tenure := lasting(time.Second)
	done := background(t.Context(), g, tenure)
	found := pids()
	group := cgroupOf(t, found[0])
	for _, pid := range found {
		if in := cgroupOf(t, pid); in != group || filepath.Dir(in) != cgroupOf(t, os.Getpid()) {
			t.Errorf("pid %d is in %s, its parent in %s", pid, in, group)
		}
	}
	if in := cgroupOf(t, g.pid); in == group {
		t.Error("the guard is in the tree's cgroup")
	}
	inner := filepath.Join(group, "inner")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(inner, "cgroup.procs"), []byte(strconv.Itoa(found[2])), 0o600); err != nil {
		t.Fatal(err)
	}
	if res := <-done; res.Cause != Deadline {
		t.Errorf("result %+v", res)
	}
	mustBeDead(t, found)
	g.Dismiss()
	if _, err := os.Stat(group); err == nil {
		t.Errorf("%s was left", group)
	}
}

// What root moved out of the cgroup is of the tree all the same, whoever kills it.
func TestMovedOutOfTheCgroup(t *testing.T) {
	needCgroup(t)
	for _, guardDies := range []bool{false, true} {
		argv, pids := tree(t)
		g := start(t, argv)
		tenure := lasting(time.Second)
		done := background(t.Context(), g, tenure)
		found := pids()
		for _, pid := range found[1:] {
			out := filepath.Join(cgroupOf(t, os.Getpid()), "cgroup.procs")
			if err := os.WriteFile(out, []byte(strconv.Itoa(pid)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if guardDies {
			_ = syscall.Kill(g.pid, syscall.SIGKILL)
		}
		<-done
		mustBeDead(t, found)
	}
}

// Supervisor and guard are killed together: the kernel kills the child, the
// sentinel the rest, removes the cgroup and ends.
func TestBothKilledAtOnce(t *testing.T) {
	needCgroup(t)
	for range 10 {
		argv, pids := tree(t)
		supervisor := exec.Command("/proc/self/exe", "supervise", argv[2], filepath.Join(t.TempDir(), "given-back"))
		if err := supervisor.Start(); err != nil {
			t.Fatal(err)
		}
		found := pids()
		group := cgroupOf(t, found[0])
		beside, err := below(supervisor.Process.Pid)
		if err != nil || len(beside) != 2 {
			t.Fatalf("beside the supervisor: %v, %v; want guard and sentinel", beside, err)
		}
		guard := beside[slices.IndexFunc(beside, func(p process) bool { return hasChild(t, p.pid) })]
		_ = syscall.Kill(supervisor.Process.Pid, syscall.SIGKILL)
		_ = syscall.Kill(guard.pid, syscall.SIGKILL)
		began := time.Now()
		_ = supervisor.Wait()
		waitFor(t, "the end of the tree", func() bool { return len(alive(found)) == 0 })
		t.Logf("the tree was dead after %v", time.Since(began))
		waitFor(t, "the end of the sentinel", func() bool { return len(alive([]int{beside[0].pid, beside[1].pid})) == 0 })
		if _, err := os.Stat(group); err == nil {
			t.Errorf("%s was left", group)
		}
	}
}

func hasChild(t *testing.T, pid int) bool {
	t.Helper()
	children, err := below(pid)
	if err != nil {
		t.Fatal(err)
	}
	return len(children) > 0
}

// Supervisor, guard and sentinel are killed: who next makes a cgroup there ends
// what lives in theirs, and touches none that is in use.
func TestAbandonedCgroup(t *testing.T) {
	needCgroup(t)
	argv, pids := tree(t)
	supervisor := exec.Command("/proc/self/exe", "supervise", argv[2], filepath.Join(t.TempDir(), "given-back"))
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	found := pids()
	group := cgroupOf(t, found[0])
	beside, err := below(supervisor.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	inUse := start(t, []string{"/bin/true"})
	for _, p := range append(beside, process{pid: supervisor.Process.Pid}) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	_ = supervisor.Wait()
	waitFor(t, "the abandoned cgroup to go", func() bool {
		makeCgroup().remove()
		_, err := os.Stat(group)
		return err != nil
	})
	mustBeDead(t, found)
	if _, err := os.Stat(inUse.cgroup.path); err != nil {
		t.Error(err)
	}
}

// A cgroup that only bears such a name is not ours, whoever lives in it; and of many
// that are made at once none is taken for abandoned before it is locked.
func TestOnlyOurCgroupsAreAbandoned(t *testing.T) {
	needCgroup(t)
	base, err := ownCgroup()
	if err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(base, fmt.Sprintf("leaderrun-%d-1", os.Getpid()))
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	stranger := exec.Command("/bin/sleep", "1000")
	stranger.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := errors.Join(stranger.Start(), dir.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = stranger.Process.Kill(), stranger.Wait()
		waitFor(t, "the cgroup to be empty", func() bool {
			err := os.Remove(theirs)
			return err == nil || errors.Is(err, fs.ErrNotExist)
		})
	})
	var many sync.WaitGroup
	for range 4 {
		many.Go(func() {
			for range 50 {
				c := makeCgroup()
				if c == nil {
					t.Error("no cgroup")
					return
				}
				c.remove()
			}
		})
	}
	many.Wait()
	if len(alive([]int{stranger.Process.Pid})) == 0 {
		t.Error("a stranger was killed")
	}
}

// Supervisor and guard are killed while the sentinel cannot run: who comes next ends
// the tree, which bears no mark here, by the name of its cgroup, and no other's.
func TestEndOrphansInTheirCgroup(t *testing.T) {
	needCgroup(t)
	argv, pids := tree(t)
	supervisor := exec.Command("/proc/self/exe", "supervise", argv[2], filepath.Join(t.TempDir(), "given-back"))
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	found := pids()
	group := joinCgroup(cgroupOf(t, found[0]))
	id := group.id()
	group.close()
	beside, err := below(supervisor.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	sentinel := beside[slices.IndexFunc(beside, func(p process) bool { return !hasChild(t, p.pid) })].pid
	defer func() { _ = syscall.Kill(sentinel, syscall.SIGCONT) }()
	for _, pid := range []int{sentinel, supervisor.Process.Pid} {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		waitFor(t, "the stop", func() bool {
			p, err := readProcess(pid)
			return err == nil && p.state == 'T'
		})
	}
	for _, p := range append(beside, process{pid: supervisor.Process.Pid}) {
		if p.pid != sentinel {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	_ = supervisor.Wait()
	for _, other := range []string{"", "1" + id} {
		if err := EndOrphans(t.Context(), other, 0, 0, "file#none#1"); err != nil || len(alive(found[1:])) != 3 {
			t.Fatalf("%q: %v; of the tree %v lives", other, err, alive(found))
		}
	}
	if err := EndOrphans(t.Context(), id, 0, 0, "file#none#1"); err != nil {
		t.Error(err)
	}
	mustBeDead(t, found)
}

// A sentinel that ends before its guard is reaped is not left as a zombie.
func TestNoZombieSentinel(t *testing.T) {
	needCgroup(t)
	for range 10 {
		argv, pids := tree(t)
		supervisor := exec.Command("/proc/self/exe", "supervise", argv[2], filepath.Join(t.TempDir(), "given-back"))
		var out strings.Builder
		supervisor.Stderr = &out
		if err := supervisor.Start(); err != nil {
			t.Fatal(err)
		}
		_ = pids()
		beside, err := below(supervisor.Process.Pid)
		if err != nil || len(beside) != 2 {
			t.Fatalf("beside the supervisor: %v, %v", beside, err)
		}
		_ = supervisor.Process.Signal(syscall.SIGSTOP)
		waitFor(t, "the stop", func() bool {
			p, err := readProcess(supervisor.Process.Pid)
			return err == nil && p.state == 'T'
		})
		for _, p := range beside {
			if hasChild(t, p.pid) {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		waitFor(t, "the end of the sentinel", func() bool { return len(alive([]int{beside[0].pid, beside[1].pid})) == 0 })
		_ = supervisor.Process.Signal(syscall.SIGCONT)
		_ = supervisor.Wait() // perhaps reaped as a stranger: what it says counts
		if out.Len() > 0 {
			t.Fatal(out.String())
		}
	}
}

// A sentinel needs no /dev/null, of which a container may have none: nothing is
// closed that Go's runtime would open it for.
func TestSentinelNeedsNoDevNull(t *testing.T) {
	needCgroup(t)
	g := start(t, []string{"/bin/true"})
	<-g.beside
	children, err := below(os.Getpid())
	if err != nil || len(children) != 2 {
		t.Fatalf("%v, %v; want guard and sentinel", children, err)
	}
	for _, p := range children {
		for fd := 0; fd <= watched && p.pid != g.pid; fd++ {
			if what, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.pid, fd)); !strings.Contains(what, "pidfd") {
				t.Errorf("descriptor %d is %q, %v; want the guard's", fd, what, err)
			}
		}
	}
}

// What cannot be looked at is not taken for dead; what is not there any more is.
func TestPopulatedUnlessSeenEmpty(t *testing.T) {
	gone, odd := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(odd, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if (&cgroup{path: gone}).populated() {
		t.Error("what is gone counts as populated")
	}
	if !(&cgroup{path: odd}).populated() {
		t.Error("what cannot be read counts as empty")
	}
}

// What a killed cgroup does to those who are born in it is known, and a renewed one
// takes them.
func TestRenewedCgroup(t *testing.T) {
	needCgroup(t)
	c := makeCgroup()
	t.Cleanup(c.remove)
	fork := func() (dead bool, status syscall.WaitStatus) {
		reaping.Lock() // or the strangers' reaper takes it
		defer reaping.Unlock()
		attr := &syscall.ProcAttr{Sys: &syscall.SysProcAttr{}}
		c.enter(attr.Sys)
		pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "60"}, attr)
		if err != nil {
			t.Fatal(err)
		}
		dead = bornDead(pid)
		_ = syscall.Kill(pid, syscall.SIGTERM)
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
			t.Fatal(err)
		}
		return dead, status
	}
	for range 3 {
		if !c.renew() {
			t.Fatal("cannot be renewed")
		}
		if dead, status := fork(); dead || status.Signal() != syscall.SIGTERM {
			t.Fatalf("the child of a fresh cgroup: dead %v, status %v", dead, status)
		}
		c.end()
	}
	c.ends.Wait()
	if dead, status := fork(); dead != (status.Signal() == syscall.SIGKILL) {
		t.Errorf("the child of a killed cgroup: dead %v, status %v", dead, status)
	}
}
