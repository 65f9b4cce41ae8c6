package servers

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const orphanEnv = "SERVERS_TEST_ORPHAN"

// As a program of its own, this test binary starts an etcd, says its pid and waits
// to be killed.
func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		orphan()
	}
	os.Exit(m.Run())
}

func orphan() {
	e, err := RunEtcd(context.Background(), EtcdOptions{Dir: os.Getenv(orphanEnv)})
	if err != nil {
		panic(err)
	}
	fmt.Println(e.Pid(0))
	select {}
}

// A test that is killed leaves no server, whichever thread of it started it.
func TestServersDieWithTheTest(t *testing.T) {
	Require(t, "etcd")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	must(t, err)
	id, err := identity(pid)
	must(t, err)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	waitFor(t, "the server's death", func() bool {
		now, err := identity(pid)
		return err != nil || now != id
	})
}

func TestDetachedEtcd(t *testing.T) {
	Require(t, "etcd")
	dir := filepath.Join(t.TempDir(), "d")
	e, err := StartDetachedEtcd(t.Context(), EtcdOptions{Dir: dir, Nodes: 3, Fast: true})
	must(t, err)
	t.Cleanup(func() { _ = e.Stop() })
	put(t, e, "key")
	if _, err := StartDetachedEtcd(t.Context(), EtcdOptions{Dir: dir}); err == nil {
		t.Error("started twice in one directory")
	}
	must(t, StopDetached(t.Context(), dir))
	for i := range e.nodes {
		if e.Pid(i) != 0 {
			waitFor(t, "reaping", func() bool { return e.Pid(i) == 0 })
		}
	}
	if err := StopDetached(t.Context(), dir); err == nil {
		t.Error("stopped what was not there")
	}
}

// A pid that means another process by now is left alone.
func TestStopSparesAReusedPid(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sleep", "60")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	must(t, os.WriteFile(pidFile(dir), fmt.Appendf(nil, "%d earlier/1\n", cmd.Process.Pid), 0o600))
	must(t, StopDetached(t.Context(), dir))
	if _, err := identity(cmd.Process.Pid); err != nil {
		t.Errorf("the stranger was killed: %v", err)
	}
	must(t, os.WriteFile(pidFile(dir), []byte("-1 x\n"), 0o600))
	if err := StopDetached(t.Context(), dir); err == nil {
		t.Error("took -1, everybody, for a process")
	}
}

func TestInstallWaitsForAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), file)
	must(t, err)
	got := make(chan error, 1)
	go func() {
		again, err := lockFile(t.Context(), file)
		if err == nil {
			again()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("locked twice: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	unlock()
	must(t, <-got)
}

func TestRequired(t *testing.T) {
	for list, want := range map[string]bool{
		"": false, "file": false, "etcd": true, "file,etcd": true, "file, etcd ,netns": true, "etcd2": false,
	} {
		if got := required(list, "etcd"); got != want {
			t.Errorf("required(%q) = %v", list, got)
		}
	}
}
