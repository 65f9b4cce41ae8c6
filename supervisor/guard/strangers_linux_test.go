package guard

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// without skips the test for want of something, or where servers.RequireEnv names
// it, fails it.
func without(t *testing.T, what string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv(servers.RequireEnv), ","), what) {
		t.Fatalf("%s names %s, which is not to be had here", servers.RequireEnv, what)
	}
	t.Skipf("no %s to be had here", what)
}

// again runs the test of this name by this program once more, in the command line
// before it, and takes its outcome.
func again(t *testing.T, via ...string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(via, exe, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), againEnv+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in %s: %v", via[0], err)
	}
}

const againEnv = "LEADERRUN_TEST_AGAIN"

// What was there when this program was started is not of the tenure, nor is what it
// leaves behind, which comes to us as the subreaper when its parent ends, after the
// guard and its tree were started.
func TestAdoptedStrangerIsSpared(t *testing.T) {
	dir := t.TempDir()
	argv, pids := tree(t)
	script := fmt.Sprintf(`cd %s
		(while ! [ -f go ]; do sleep 0.01; done; (setsid sh -c 'echo $$ >stranger; exec sleep 1000' &)) &
		exec "$@"`, dir)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	supervisor := exec.Command("/bin/sh", "-c", script, "sh", exe, "supervise", argv[2], filepath.Join(dir, "given-back"))
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	found := pids()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var stranger int
	waitFor(t, "the stranger to be adopted", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "stranger"))
		stranger, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		p, err := readProcess(stranger)
		return err == nil && p.parent == supervisor.Process.Pid
	})
	t.Cleanup(func() { _ = syscall.Kill(stranger, syscall.SIGKILL) })
	main, err := readProcess(found[0])
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(main.parent, syscall.SIGKILL) // the guard
	// This process, too, reaps strangers, if an earlier test started a guard here.
	if err := supervisor.Wait(); err != nil && !errors.Is(err, syscall.ECHILD) {
		t.Fatal(err)
	}
	mustBeDead(t, found)
	if len(alive([]int{stranger})) == 0 {
		t.Error("the stranger was killed")
	}
}

// Whoever gets the pid of a process that is gone is left alone. In a process
// namespace of one's own the kernel can be told which pid comes next.
func TestReusedPIDIsSpared(t *testing.T) {
	if os.Getenv(againEnv) == "" {
		if exec.Command("unshare", "--pid", "--fork", "--mount-proc", "test", "-w", "/proc/sys/kernel/ns_last_pid").Run() != nil {
			without(t, "pidns")
		}
		again(t, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--")
		return
	}
	reuse := func(pid int) *exec.Cmd {
		// The kernel counts start times in ticks of 10 ms.
		<-time.After(20 * time.Millisecond)
		c := exec.Command("sleep", "1000")
		for range 100 { // a thread of ours may be given it first
			if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if c.Process.Pid == pid {
				break
			}
			_ = c.Process.Kill()
			_ = c.Wait()
			c = exec.Command("sleep", "1000")
		}
		if c.Process == nil || c.Process.Pid != pid {
			t.Fatalf("pid %d is not given again", pid)
		}
		return c
	}
	spared := func(c *exec.Cmd, what string) {
		t.Helper()
		<-time.After(20 * time.Millisecond)
		if len(alive([]int{c.Process.Pid})) == 0 {
			t.Errorf("%s: who has the pid now was killed", what)
		}
		_ = c.Process.Kill()
		_ = c.Wait()
	}

	first := exec.Command("sleep", "1000")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	listed, err := readProcess(first.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	second := reuse(listed.pid)
	_ = killDeep(listed)
	spared(second, "after it was listed")

	g := start(t, []string{"/bin/true"})
	g.Dismiss()
	second = reuse(g.pid)
	g.Dismiss()
	spared(second, "a guard that was dismissed twice")

	second = reuse(listed.pid)
	if err := EndOrphans(t.Context(), "", listed.pid, listed.start, "file#clock#7"); err != nil {
		t.Error(err)
	}
	spared(second, "orphans of a recorded child")
}
