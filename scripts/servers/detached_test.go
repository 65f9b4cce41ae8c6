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

// The directory of the server, and whether it is to be a host of its own.
const (
	orphanEnv      = "SERVERS_TEST_ORPHAN"
	orphanHostsEnv = "SERVERS_TEST_ORPHAN_HOSTS"
)

// As a program of its own, this test binary starts an etcd, says its pid and waits
// to be killed.
func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		orphan()
	}
	os.Exit(m.Run())
}

func orphan() {
	e, err := RunEtcd(context.Background(), EtcdOptions{
		Dir: os.Getenv(orphanEnv), Hosts: os.Getenv(orphanHostsEnv) != "",
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(e.Pid(0))
	select {}
}

// A test that is killed leaves no server, whichever thread of it started it. The
// hosts that it made the next one removes.
func TestServersDieWithTheTest(t *testing.T) {
	Require(t, "etcd")
	t.Run("here", func(t *testing.T) { startOrphan(t) })
	t.Run("hosts", func(t *testing.T) {
		Require(t, "netns")
		maker := startOrphan(t, orphanHostsEnv+"=1")
		sweepNetns()
		left, err := filepath.Glob("/run/netns/*-" + strconv.Itoa(maker))
		if err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// startOrphan starts a server's parent, kills it and waits for the server's end. It
// returns the parent's pid.
func startOrphan(t *testing.T, env ...string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), orphanEnv+"="+filepath.Join(t.TempDir(), "d")), env...)
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
	return cmd.Process.Pid
}

func TestDetached(t *testing.T) {
	ctx := t.Context()
	for name, start := range map[string]func(dir string) (*cluster, error){
		"etcd": func(dir string) (*cluster, error) {
			e, err := StartDetachedEtcd(ctx, EtcdOptions{Dir: dir, Nodes: 3, Fast: true})
			if err != nil {
				return nil, err
			}
			return e.cluster, nil
		},
		"consul": func(dir string) (*cluster, error) {
			c, err := StartDetachedConsul(ctx, ConsulOptions{Dir: dir})
			if err != nil {
				return nil, err
			}
			return c.cluster, nil
		},
		"zookeeper": func(dir string) (*cluster, error) {
			z, err := StartDetachedZooKeeper(ctx, ZooKeeperOptions{Dir: dir, Fast: true})
			if err != nil {
				return nil, err
			}
			return z.cluster, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			Require(t, name)
			dir := filepath.Join(t.TempDir(), "d")
			c, err := start(dir)
			must(t, err)
			t.Cleanup(func() { _ = c.Stop() })
			_, err = c.Leader()
			must(t, err)
			if _, err := start(dir); err == nil {
				t.Error("started twice in one directory")
			}
			must(t, StopDetached(t.Context(), dir))
			for i := range c.nodes {
				waitFor(t, "reaping", func() bool { return c.Pid(i) == 0 })
			}
			if err := StopDetached(t.Context(), dir); err == nil {
				t.Error("stopped what was not there")
			}
		})
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
