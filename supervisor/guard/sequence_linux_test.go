package guard

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// One command after the other, each with a tree of its own, which is dead when Run
// has returned, whoever ends it.
func TestSequence(t *testing.T) { sequence(t) }

func TestSequenceWithoutCgroup(t *testing.T) { withoutCgroup(t, func() { sequence(t) }) }

func sequence(t *testing.T) {
	t.Helper()
	argv, first := tree(t)
	g := start(t, argv)
	g.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	done := background(ctx, g, lasting(time.Minute))
	found := first()
	cancel()
	if res := <-done; res.Cause != Killed {
		t.Errorf("first: %+v", res)
	}
	mustBeDead(t, found)

	argv, second := tree(t)
	text := strings.Replace(argv[2], "while :; do sleep 1000; done", "while ! [ -f daemon ] || ! [ -f session ] || ! [ -f child ]; do :; done; exit 3", 1)
	res := g.Command(Command{Shell: text}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {})
	if res.Cause != Exited || res.ExitCode() != 3 {
		t.Errorf("second: %+v", res)
	}
	mustBeDead(t, second())

	argv, third := tree(t)
	tenure := lasting(700 * time.Millisecond)
	command := g.Command(Command{Shell: argv[2]})
	ended := make(chan Result, 1)
	go func() { ended <- command.Run(t.Context(), tenure, func(int, uint64) {}) }()
	found = third()
	if g.cgroup != nil && filepath.Dir(cgroupOf(t, found[3])) != g.cgroup.path {
		t.Errorf("the third's daemon is in %s, not below %s", cgroupOf(t, found[3]), g.cgroup.path)
	}
	if res := <-ended; res.Cause != Deadline || tenure.until.Until() > 0 {
		t.Errorf("third: %+v, %v before the deadline", res, tenure.until.Until())
	}
	mustBeDead(t, found)

	none := func(pid int, _ uint64) { t.Errorf("started %d after the deadline", pid) }
	if res := g.Command(Command{}).Run(t.Context(), tenure, none); res.Cause != NotStarted || res.Errno != syscall.ETIME {
		t.Errorf("after the deadline: %+v", res)
	}
}

// What ended one tree, a cgroup's kill that is late included, does not hit the next.
func TestManyCommands(t *testing.T) {
	g := start(t, []string{"/bin/sh", "-c", "sleep 1000 & exit 3"})
	g.Hold()
	for i := range 100 {
		res := g.Command(Command{}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {})
		if res.Cause != Exited || res.ExitCode() != 3 {
			t.Fatalf("command %d: %+v", i, res)
		}
	}
}

// The deadline of a command is not that of the next, nor of a guard that waits for it.
func TestDeadlineGoesWithItsCommand(t *testing.T) {
	g := start(t, []string{"/bin/true"})
	g.Hold()
	first := lasting(300 * time.Millisecond)
	if res := g.Command(Command{}).Run(t.Context(), first, func(int, uint64) {}); res.Cause != Exited {
		t.Fatalf("%+v", res)
	}
	waitFor(t, "the deadline", func() bool { return first.until.Until() < -2*selfKillSlack })
	if len(alive([]int{g.pid})) == 0 {
		t.Fatal("the guard is dead")
	}
	if res := g.Command(Command{Shell: "sleep 0.3; exit 4"}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {}); res.ExitCode() != 4 {
		t.Errorf("%+v", res)
	}
}

// A signal reaches the command that it is for, also if it comes first, and no other.
func TestSignalsReachTheirCommand(t *testing.T) {
	g := start(t, []string{"/bin/true"})
	g.Hold()
	for range 10 {
		first := g.Command(Command{})
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
					first.Signal(syscall.SIGUSR1)
				}
			}
		}()
		first.Run(t.Context(), lasting(time.Minute), func(int, uint64) {})
		res := g.Command(Command{Shell: "sleep 0.05; exit 4"}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {})
		close(stop)
		<-stopped
		if res.ExitCode() != 4 {
			t.Fatalf("a signal to the first: the second has ended with %+v", res)
		}
	}
	early := g.Command(Command{Shell: "sleep 1000"})
	early.Signal(syscall.SIGUSR1)
	if res := early.Run(t.Context(), lasting(time.Minute), func(int, uint64) {}); res.Status.Signal() != syscall.SIGUSR1 {
		t.Errorf("an early signal: %+v", res)
	}
}

func TestDoneBeforeTheStart(t *testing.T) {
	g := start(t, []string{"/bin/true"})
	<-g.beside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	none := func(pid int, _ uint64) { t.Errorf("started %d", pid) }
	if res := g.Command(Command{}).Run(ctx, lasting(time.Minute), none); res.Cause != Killed || !res.Status.Signaled() {
		t.Errorf("%+v", res)
	}
	if res := g.Command(Command{}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {}); res.Cause != Exited {
		t.Errorf("the next: %+v", res)
	}
}

func TestNothingRunsAfterTheGuardsDeath(t *testing.T) {
	for _, running := range []bool{true, false} {
		g := start(t, []string{"/bin/sleep", "1000"})
		g.Hold()
		<-g.beside
		if running {
			res := g.Command(Command{}).Run(t.Context(), lasting(time.Minute), func(int, uint64) { _ = syscall.Kill(g.pid, syscall.SIGKILL) })
			if res.Cause != GuardDied {
				t.Errorf("%+v", res)
			}
		} else {
			_ = syscall.Kill(g.pid, syscall.SIGKILL)
		}
		none := func(pid int, _ uint64) { t.Errorf("started %d", pid) }
		for range 2 {
			if res := g.Command(Command{}).Run(t.Context(), lasting(time.Minute), none); res.Cause != GuardDied {
				t.Errorf("%+v", res)
			}
		}
	}
}

func TestTicketBetweenCommands(t *testing.T) {
	run := func(g *Guard, tenure Tenure) Result {
		return g.Command(Command{}).Run(t.Context(), tenure, func(int, uint64) {})
	}
	soon := func() { <-time.After(giveBackAfter + 300*time.Millisecond) }
	t.Run("held", func(t *testing.T) {
		t.Parallel()
		g, givenBack := startSpec(t, Spec{Path: "/bin/true", Argv: []string{"true"}})
		g.Hold()
		for range 2 {
			if res := run(g, lasting(time.Minute)); res.Cause != Exited {
				t.Errorf("%+v", res)
			}
			if soon(); givenBack() {
				t.Error("given back between commands")
			}
		}
	})
	t.Run("not held", func(t *testing.T) {
		t.Parallel()
		g, givenBack := startSpec(t, Spec{Path: "/bin/true", Argv: []string{"true"}})
		run(g, lasting(time.Minute))
		waitFor(t, "the ticket to be given back", givenBack)
		g.Hold() // too late
		for range 2 {
			if res := run(g, lasting(time.Minute)); res.Cause != NotStarted || res.Errno != syscall.ETIME {
				t.Errorf("%+v, want what is not started", res)
			}
		}
	})
	t.Run("held after the end", func(t *testing.T) {
		t.Parallel()
		g, givenBack := startSpec(t, Spec{Path: "/bin/true", Argv: []string{"true"}})
		run(g, lasting(time.Minute))
		g.Hold()
		if soon(); givenBack() {
			t.Error("given back all the same")
		}
	})
	t.Run("deadline", func(t *testing.T) {
		t.Parallel()
		g, givenBack := startSpec(t, Spec{Path: "/bin/sleep", Argv: []string{"sleep", "1000"}})
		g.Hold()
		if res := run(g, lasting(300*time.Millisecond)); res.Cause != Deadline {
			t.Errorf("%+v", res)
		}
		waitFor(t, "the ticket to be given back", givenBack)
	})
}

// leaveMain is a supervisor to be killed: between two commands, or while a check runs.
func leaveMain(when, script, ticket string) int {
	held, err := os.Create(ticket + ".lock")
	if err != nil {
		return 1
	}
	g, err := Start(Spec{Path: "/bin/sleep", Argv: []string{"sleep", "1000"}, Held: held})
	if err == nil {
		err = g.Prepare([]byte(ticket))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	g.Hold()
	if when == "check" {
		g.Command(Command{}).Run(context.Background(), lasting(time.Hour), func(int, uint64) {
			g.Check(Command{Shell: script}, func(int) {})
		})
		return 0
	}
	g.Command(Command{Shell: script}).Run(context.Background(), lasting(time.Hour), func(int, uint64) {})
	_ = os.WriteFile(ticket+".idle", []byte(itoa(held.Fd())), 0o600)
	<-time.After(time.Minute)
	return 0
}

// A supervisor that is killed between two commands: its guard gives back, once, and ends.
func TestSupervisorKilledBetweenCommands(t *testing.T) {
	for range 5 {
		ticket := filepath.Join(t.TempDir(), "given-back")
		supervisor := exec.Command("/proc/self/exe", "idle", "exit 0", ticket)
		if err := supervisor.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the end of the first command", func() bool { b, _ := os.ReadFile(ticket + ".idle"); return len(b) > 0 })
		beside, err := below(supervisor.Process.Pid)
		if err != nil || len(beside) == 0 {
			t.Fatalf("beside the supervisor: %v, %v", beside, err)
		}
		_ = supervisor.Process.Kill()
		_ = supervisor.Wait()
		waitFor(t, "the end of the guard", func() bool {
			for _, p := range beside {
				if len(alive([]int{p.pid})) > 0 {
					return false
				}
			}
			return true
		})
		want, _ := os.ReadFile(ticket + ".idle")
		if got, err := os.ReadFile(ticket); err != nil || string(got) != string(want) {
			t.Errorf("the release command got %q, %v; want %q once", got, err, want)
		}
	}
}

// A long text is never sent in part, and is sent all the same when the pipe is not empty.
func TestLongText(t *testing.T) {
	long := ": " + strings.Repeat("x", 16<<10-100) + "\n"
	g := start(t, []string{"/bin/true"})
	g.Hold()
	for range 5 {
		r := g.Command(Command{Shell: long + "trap 'exit 5' USR1; while :; do sleep 0.01; done", Env: []string{"LONG=" + strings.Repeat("y", 8<<10)}})
		r.Signal(syscall.SIGCONT)
		checked := 0
		res := r.Run(t.Context(), lasting(time.Minute), func(int, uint64) {
			r.Signal(syscall.SIGCONT)
			g.Check(Command{Shell: long + "exit 6"}, func(int) { t.Error("told of a check that was ended") })
			g.EndCheck()
			g.Check(Command{Shell: long + "sleep 0.1; exit 7"}, func(status int) {
				checked = status
				r.Signal(syscall.SIGUSR1)
			})
		})
		if res.ExitCode() != 5 || checked != 7 {
			t.Fatalf("check %d, command %+v", checked, res)
		}
	}
}

// The second command, and a check, run as leaderrun does, though the guard hurries.
func TestLaterCommandsRunAsAnyOther(t *testing.T) {
	if os.Getenv(againEnv) == "" {
		again(t, "nice", "-n", "10", "chrt", "-b", "0")
		return
	}
	of := func(pid int) (s [2]int64) {
		attr, err := unix.SchedGetAttr(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		return [2]int64{int64(attr.Policy), int64(attr.Nice)}
	}
	ours := of(0)
	if ours != [2]int64{unix.SCHED_BATCH, 10} {
		t.Fatalf("policy and nice value are %v", ours)
	}
	g := start(t, []string{"/bin/sleep", "1000"})
	g.Hold()
	dir := t.TempDir()
	for i := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		var child [2]int64
		started, checked := make(chan struct{}), make(chan int, 1)
		done := make(chan Result, 1)
		command := g.Command(Command{})
		go func() {
			done <- command.Run(ctx, lasting(time.Minute), func(pid int, _ uint64) { child = of(pid); close(started) })
		}()
		<-started
		if os.Getuid() == 0 {
			waitFor(t, "the guard to hurry", func() bool { return of(g.pid)[0] == unix.SCHED_RR })
		}
		stat := filepath.Join(dir, "stat")
		g.Check(Command{Shell: "cat /proc/self/stat >" + stat}, func(status int) { checked <- status })
		if status := <-checked; status != 0 {
			t.Errorf("the check has ended with %d", status)
		}
		b, _ := os.ReadFile(stat)
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if check := f[16] + " " + f[38]; child != ours || check != "10 3" { // nice value and policy (proc(5))
			t.Errorf("command %d: child %v, check %s", i, child, check)
		}
		cancel()
		<-done
	}
}

// Only the Spec's command gets the terminal, each time; a shell's text that wants it all the
// same waits for it, and stops nobody else.
func TestTerminalOfEachCommand(t *testing.T) {
	if os.Getenv(againEnv) == "" {
		onTerminalOfItsOwn(t)
		return
	}
	stopped := make(chan syscall.Signal, 1)
	g, _ := startSpec(t, Spec{Path: "/bin/sleep", Argv: []string{"sleep", "0.3"}, Stopped: func(sig syscall.Signal) { stopped <- sig }})
	g.Hold()
	mustBeInFront := func(who string, want int) {
		if front, ok := foreground(); !ok || front != want {
			t.Errorf("%s: in front is %d, %t; want %d", who, front, ok, want)
		}
	}
	for range 2 {
		res := g.Command(Command{}).Run(t.Context(), lasting(time.Minute), func(pid int, _ uint64) {
			mustBeInFront("command", pid)
			g.Check(Command{Shell: "exit 0"}, func(int) { mustBeInFront("check", pid) })
		})
		if res.Cause != Exited || res.ExitCode() != 0 || !res.Front {
			t.Errorf("%+v", res)
		}
		mustBeInFront("after the command", os.Getpid())
		res = g.Command(Command{Shell: "sleep 0.1; exit 3"}).Run(t.Context(), lasting(time.Minute), func(int, uint64) {
			mustBeInFront("shell", os.Getpid())
		})
		if res.ExitCode() != 3 || res.Front {
			t.Errorf("%+v", res)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	child := make(chan int, 1)
	done := make(chan Result, 1)
	reads := g.Command(Command{Shell: "read line </dev/tty"})
	go func() { done <- reads.Run(ctx, lasting(time.Minute), func(pid int, _ uint64) { child <- pid }) }()
	pid := <-child
	waitFor(t, "the stop", func() bool { p, err := readProcess(pid); return err == nil && p.state == 'T' })
	reads.Signal(syscall.SIGCONT)
	<-time.After(100 * time.Millisecond)
	mustBeInFront("a shell that reads", os.Getpid())
	select {
	case sig := <-stopped:
		t.Errorf("told of a stop by %v", sig)
	default:
	}
	cancel()
	<-done
}

// onTerminalOfItsOwn runs the test once more as the leader of a session with a terminal.
func onTerminalOfItsOwn(t *testing.T) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		without(t, "terminal")
	}
	defer func() { _ = master.Close() }()
	n := 0
	if err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err == nil {
		n, err = unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slave.Close() }()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "30s")
	cmd.Env = append(os.Environ(), againEnv+"=1")
	var out strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err = cmd.Run(); err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Errorf("%v: %s", err, out.String())
	}
}
