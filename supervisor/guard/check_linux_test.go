package guard

import (
	"context"
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

	"golang.org/x/sys/unix"
)

// running runs a command that does not end until end is called.
func running(t *testing.T, g *Guard) (end func() Result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan struct{}), make(chan Result, 1)
	command := g.Command(Command{Shell: "sleep 1000"})
	go func() {
		done <- command.Run(ctx, lasting(time.Minute), func(int, uint64) { close(started) })
	}()
	<-started
	return func() Result { cancel(); return <-done }
}

// hanging is a check's text that forks and does not end; with a session, which leaves its
// group.
func hanging(t *testing.T, session bool) (text string, pids func() []int) {
	t.Helper()
	dir := t.TempDir()
	setsid, names := "", []string{"check", "fork"}
	if session {
		setsid, names = `setsid sh -c 'echo $$ >session; exec sleep 1000' &`, append(names, "session")
	}
	text = fmt.Sprintf(`cd %s; trap "" TERM; sh -c 'echo $$ >fork; exec sleep 1000' &
		%s
		echo $$ >check; wait`, dir, setsid)
	return text, func() (found []int) {
		for _, name := range names {
			waitFor(t, "pid of "+name, func() bool {
				b, _ := os.ReadFile(filepath.Join(dir, name))
				pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
				if pid > 0 {
					found = append(found, pid)
				}
				return pid > 0
			})
		}
		return found
	}
}

func TestCheck(t *testing.T) {
	g := start(t, []string{"/bin/true"})
	g.Hold()
	for range 2 {
		end := running(t, g)
		for text, want := range map[string]int{
			"exit 0": 0, "exit 3": 3, "kill -SEGV $$": 139, "": 0, "read x || exit 5": 5, "exit $STATUS": 7,
			"[ $(cut -d' ' -f5 /proc/$$/stat) = $$ ]": 0, // its process group
		} {
			ended := make(chan int, 1)
			g.Check(Command{Shell: text, Env: []string{"STATUS=7"}}, func(status int) { ended <- status })
			select {
			case got := <-ended:
				if got != want {
					t.Errorf("%q: %d, want %d", text, got, want)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%q: no end", text)
			}
		}
		end()
		g.Check(Command{Shell: "exit 0"}, func(int) { t.Error("a check was run without a command") })
	}
}

func TestEndCheck(t *testing.T) {
	g := start(t, []string{"/bin/true"})
	end := running(t, g)
	for _, how := range []string{"end", "replace"} {
		text, pids := hanging(t, false)
		g.Check(Command{Shell: text}, func(status int) { t.Errorf("%s: told of %d", how, status) })
		found := pids()
		if how == "end" {
			g.EndCheck()
			g.EndCheck()
		}
		ended := make(chan int, 1)
		g.Check(Command{Shell: "exit 4"}, func(status int) { ended <- status })
		if got := <-ended; got != 4 {
			t.Errorf("%s: the next: %d", how, got)
		}
		waitFor(t, "the end of the check's group", func() bool { return len(alive(found)) == 0 })
	}
	left, pids := hanging(t, false)
	ended := make(chan int, 1)
	g.Check(Command{Shell: strings.Replace(left, "wait", "while ! [ -s fork ]; do :; done; exit 6", 1)}, func(status int) { ended <- status })
	if got := <-ended; got != 6 {
		t.Errorf("one that leaves a fork: %d", got)
	}
	mustBeDead(t, pids()[:1])
	waitFor(t, "the end of what was left", func() bool { return len(alive(pids())) == 0 })
	if res := end(); res.Cause != Killed {
		t.Errorf("%+v", res)
	}
}

// A check is of its command's tree.
func TestCheckDiesWithTheTree(t *testing.T) {
	for _, how := range []string{"exit", "deadline", "lost", "guard killed"} {
		t.Run(how, func(t *testing.T) {
			g := start(t, []string{"/bin/sh", "-c", "trap 'exit 0' USR1; while :; do sleep 0.01; done"})
			tenure := lasting(time.Minute)
			if how == "deadline" {
				tenure = lasting(700 * time.Millisecond)
			}
			text, pids := hanging(t, true)
			command := g.Command(Command{})
			done := make(chan Result, 1)
			go func() {
				done <- command.Run(t.Context(), tenure, func(int, uint64) {
					g.Check(Command{Shell: text}, func(status int) { t.Errorf("told of %d", status) })
				})
			}()
			found := pids()
			want := Exited
			switch how {
			case "exit":
				command.Signal(syscall.SIGUSR1)
			case "deadline":
				want = Deadline
			case "lost":
				want = Killed
				close(tenure.lost)
			case "guard killed":
				want = GuardDied
				_ = syscall.Kill(g.pid, syscall.SIGKILL)
			}
			if res := <-done; res.Cause != want {
				t.Errorf("%+v, want %s", res, want)
			}
			mustBeDead(t, found)
		})
	}
}

func TestCheckDiesWithTheSupervisor(t *testing.T) {
	for range 5 {
		text, pids := hanging(t, true)
		ticket := filepath.Join(t.TempDir(), "given-back")
		supervisor := exec.Command("/proc/self/exe", "check", text, ticket)
		if err := supervisor.Start(); err != nil {
			t.Fatal(err)
		}
		found := pids()
		_ = supervisor.Process.Kill()
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

// A check that cannot be started costs the tree nothing.
func TestCheckWithoutDescriptors(t *testing.T) {
	g := start(t, []string{"/bin/true"})
	end := running(t, g)
	none := unix.Rlimit{Cur: 3, Max: 1024}
	if err := unix.Prlimit(g.pid, unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	ended := make(chan int, 1)
	g.Check(Command{Shell: "exit 0"}, func(status int) { ended <- status })
	if got := <-ended; got != 126 {
		t.Errorf("%d, want 126", got)
	}
	if err := unix.Prlimit(g.pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 1024}, nil); err != nil {
		t.Fatal(err)
	}
	g.Check(Command{Shell: "exit 3"}, func(status int) { ended <- status })
	if got := <-ended; got != 3 {
		t.Errorf("%d, want 3", got)
	}
	if res := end(); res.Cause != Killed {
		t.Errorf("%+v", res)
	}
}

// What is told of a check is told of that one, and once.
func TestLateReportOfACheck(t *testing.T) {
	g := &Guard{}
	g.begin(1)
	var told []string
	tell := func(who string) func(int) {
		return func(status int) { told = append(told, fmt.Sprint(who, status)) }
	}
	g.Check(Command{}, tell("a"))
	g.Check(Command{}, tell("b"))
	g.checked(1, 1<<8)
	g.checked(2, 2<<8)
	g.checked(2, 3<<8)
	g.Check(Command{}, tell("c"))
	g.EndCheck()
	g.checked(3, 4<<8)
	g.Check(Command{}, tell("d"))
	g.begin(0)
	g.checked(4, 5<<8)
	if want := []string{"b2"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}
