//go:build linux

package guard

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"leaderrun/lock/bootclock"
)

// A guard that cannot run is ended by the kernel, its child with it, and the
// rest by Run.
func TestStoppedGuardDiesAtTheDeadline(t *testing.T) {
	argv, pids := tree(t)
	g := start(t, argv)
	tenure := lasting(time.Second)
	done := background(t.Context(), g, tenure)
	found := pids()
	if err := syscall.Kill(g.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	res := <-done
	late := -tenure.until.Until()
	if res.Cause != GuardDied || late < 0 {
		t.Errorf("result %+v, %v after the deadline", res, late)
	}
	mustBeDead(t, found)
}

// A tenure that is certainly lost does not wait for a stopped guard's deadline.
func TestStoppedGuardIsBuriedOnLoss(t *testing.T) {
	argv, pids := tree(t)
	g := start(t, argv)
	tenure := lasting(time.Minute)
	done := background(t.Context(), g, tenure)
	found := pids()
	if err := syscall.Kill(g.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	close(tenure.lost)
	if res := <-done; res.Cause != GuardDied {
		t.Errorf("result %+v", res)
	}
	mustBeDead(t, found)
}

func TestKilledGuard(t *testing.T) {
	for range 20 {
		argv, pids := tree(t)
		g := start(t, argv)
		done := background(t.Context(), g, lasting(time.Minute))
		found := pids()
		if err := syscall.Kill(g.pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if res := <-done; res.Cause != GuardDied {
			t.Errorf("result %+v", res)
		}
		mustBeDead(t, found)
	}
}

// What was there before the guard, and another guard's tree, are not ours to
// kill when we bury one.
func TestStrangersAreSpared(t *testing.T) {
	stranger := exec.Command("sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	other := start(t, []string{"/bin/sleep", "1000"})
	otherCtx, endOther := context.WithCancel(t.Context())
	otherDone := background(otherCtx, other, lasting(time.Minute))
	var otherChild int
	waitFor(t, "the other child", func() bool {
		found, _ := descendants(other.pid, nil)
		if len(found) == 1 {
			otherChild = found[0].pid
		}
		return otherChild != 0
	})

	// The kernel counts start times in ticks of 10 ms.
	<-time.After(20 * time.Millisecond)
	g := start(t, []string{"/bin/sleep", "1000"})
	done := background(t.Context(), g, lasting(time.Minute))
	if err := syscall.Kill(g.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-done
	if left := alive([]int{stranger.Process.Pid, other.pid, otherChild}); len(left) != 3 {
		t.Errorf("of three strangers only %v live", left)
	}
	endOther()
	<-otherDone
}

// A guard that is frozen before it was ready holds nobody up, and starts nothing.
func TestFrozenBeforeReady(t *testing.T) {
	for _, end := range []string{"lost", "told to stop"} {
		t.Run(end, func(t *testing.T) {
			mark := filepath.Join(t.TempDir(), "started")
			g := start(t, []string{"/bin/sh", "-c", "touch " + mark})
			if err := syscall.Kill(g.pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			tenure := lasting(time.Minute)
			ctx, cancel := context.WithCancel(t.Context())
			done := background(ctx, g, tenure)
			if end == "lost" {
				close(tenure.lost)
			} else {
				cancel()
			}
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Fatal("still waits for the guard")
			}
			cancel()
			g.Dismiss()
			if _, err := os.Stat(mark); err == nil {
				t.Error("the command was started")
			}
		})
	}
}

func TestAbandonedGuardGivesTheTicketBack(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "given-back")
	held, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	g, err := Start(Spec{Path: "/bin/true", Argv: []string{"true"}, Held: held})
	if err == nil {
		err = g.Prepare([]byte(mark))
	}
	if err != nil {
		t.Fatal(err)
	}
	g.Abandon()
	waitFor(t, "the release command", func() bool { b, _ := os.ReadFile(mark); return len(b) > 0 })
	if b, _ := os.ReadFile(mark); string(b) != itoa(held.Fd()) {
		t.Errorf("release command got %q, want the lock's descriptor %d", b, held.Fd())
	}
}

// headlessMain is a process in a session of its own whose main thread has ended
// while another one runs on; the kernel shows it as a zombie.
func headlessMain(pidFile string) {
	_, _ = syscall.Setsid()
	go func() {
		runtime.LockOSThread() // a thread of its own
		_ = os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o600)
		select {}
	}()
	for syscall.Gettid() == os.Getpid() {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0) // this thread only
	}
	select {}
}

func TestHeadlessProcessIsKilled(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	g := start(t, []string{"/bin/sh", "-c", "/proc/$PPID/exe headless " + pidFile + " & while ! [ -s " + pidFile + " ]; do :; done"})
	res := g.Command(Command{}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {})
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if res.Cause != Exited {
		t.Errorf("result %+v", res)
	}
	if _, err := os.Stat("/proc/" + string(b)); err == nil {
		t.Errorf("process %s lives on", b)
	}
}

// A guard that is stopped while it kills does not hold up the end for ever: it
// is ended at the deadline that it last heard of or, once it has begun, by the
// watchdog.
func TestGuardStoppedWhileItKills(t *testing.T) {
	const many = 300
	dir := t.TempDir()
	script := fmt.Sprintf(`cd %s; for i in $(seq %d); do setsid sh -c 'echo $$ >'$i'; exec sleep 1000' & done
		while [ $(ls | wc -l) -lt %d ]; do sleep 0.01; done`, dir, many, many)
	g := start(t, []string{"/bin/sh", "-c", script})
	child := make(chan int, 1)
	done := make(chan Result, 1)
	go func() {
		done <- g.Command(Command{}).Run(t.Context(), lasting(4*time.Second), func(pid int, _ uint64) { child <- pid })
	}()
	pid := <-child
	waitFor(t, "the end of the child", func() bool {
		p, err := readProcess(pid)
		return err != nil || p.state == 'Z'
	})
	_ = syscall.Kill(g.pid, syscall.SIGSTOP)
	select {
	case res := <-done:
		t.Log(res.Cause)
	case <-time.After(killWatchdog + 10*time.Second):
		t.Error("no end")
		_ = syscall.Kill(g.pid, syscall.SIGCONT)
		<-done
	}
	var pids []int
	for i := range many {
		b, _ := os.ReadFile(filepath.Join(dir, strconv.Itoa(i+1)))
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			pids = append(pids, n)
		}
	}
	mustBeDead(t, pids)
}

// superviseMain is a supervisor to be killed: it runs a tree and never ends it.
func superviseMain(script, ticket string) int {
	argv := []string{"/bin/sh", "-c", script}
	g, err := Start(Spec{Path: argv[0], Argv: argv})
	if err == nil {
		err = g.Prepare([]byte(ticket))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	g.Command(Command{Env: []string{MarkVariable + "=supervise#1"}}).Run(context.Background(), lasting(time.Hour), func(int, uint64) {})
	left, err := below(os.Getpid())
	left = slices.DeleteFunc(left, func(p process) bool { return p.state != 'Z' })
	if err != nil || len(left) > 0 {
		fmt.Fprintln(os.Stderr, "zombies:", left, err)
		return 3
	}
	return 0
}

// Without a supervisor the guard kills first and gives back then.
func TestKilledSupervisor(t *testing.T) {
	for range 10 {
		argv, pids := tree(t)
		ticket := filepath.Join(t.TempDir(), "given-back")
		supervisor := exec.Command("/proc/self/exe", "supervise", argv[2], ticket)
		var out bytes.Buffer
		supervisor.Stderr = &out
		if err := supervisor.Start(); err != nil {
			t.Fatal(err)
		}
		found := pids()
		if err := supervisor.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the ticket to be given back", func() bool {
			_, err := os.Stat(ticket)
			if err == nil {
				mustBeDead(t, found)
			}
			return err == nil
		})
		_ = supervisor.Wait()
	}
}

func TestEndOrphans(t *testing.T) {
	const mark = "file#clock#7"
	run := func(env ...string) *exec.Cmd {
		c := exec.Command("sleep", "1000")
		c.Env = append(os.Environ(), env...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		return c
	}
	marked := run(MarkVariable + "=other#x#1 " + mark)
	later := run(MarkVariable + "=file#clock#71")
	child := run()
	reused := run()
	start := func(c *exec.Cmd) uint64 {
		p, err := readProcess(c.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return p.start
	}
	if err := EndOrphans(t.Context(), "", child.Process.Pid, start(child), mark); err != nil {
		t.Fatal(err)
	}
	if err := EndOrphans(t.Context(), "", reused.Process.Pid, start(reused)-1, mark); err != nil {
		t.Fatal(err)
	}
	mustBeDead(t, []int{marked.Process.Pid, child.Process.Pid})
	if left := alive([]int{later.Process.Pid, reused.Process.Pid}); len(left) != 2 {
		t.Errorf("killed what is not of the tenure: only %v of two live", left)
	}
}

// A guard that freezes between being ready and being told to start is not waited for
// beyond the deadline that it was told, however long the tenure goes on; nor does what it
// was told to start come to life when it thaws.
func TestGuardFrozenBeforeTheStart(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	g := start(t, []string{"/bin/sh", "-c", "touch " + mark})
	if err := g.Ping(); err != nil {
		t.Fatal(err)
	}
	<-g.beside
	if err := syscall.Kill(g.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := g.Ping(); err == nil {
		t.Error("a frozen guard has answered")
	}
	const lease = 500 * time.Millisecond
	began := bootclock.Now()
	res := g.Command(Command{}).Run(t.Context(), lasting(lease), func(int, uint64) { t.Error("started") })
	if took := bootclock.Now().Sub(began); res.Cause != GuardDied || took < lease || took > lease+reportWithin+2*time.Second {
		t.Errorf("result %+v after %v", res, took)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command ran")
	}
}
