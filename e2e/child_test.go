//go:build linux

package e2e

import (
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

// leaderrun exits with the child's status, and leaves nothing of its tree.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags  []string
		status int
	}{
		{[]string{"--exit", "0"}, 0},
		{[]string{"--exit", "3"}, 3},
		{[]string{"--exit", "255"}, 255},
		{[]string{"--signal", "SEGV"}, 128 + 11},
		{[]string{"--signal", "KILL"}, 128 + 9},
	} {
		t.Run(strings.Join(c.flags, " "), func(t *testing.T) {
			eachStore(t, func(s *store) {
				t := s.t
				e := newElection(t, s)
				flags := append(c.flags, "--after", "100ms", "--fork", "--daemon", "--ignore-term")
				a := e.start(spec{id: "a", command: e.child(flags...)})
				a.exits(t, c.status, patient)
				e.history.read(t)
				if left := treeOf(t, e.dir); len(left) != 0 {
					t.Errorf("the child has left behind: %v", left)
				}
			})
		})
	}
}

// A command that cannot be run says so in one line, with the shell's statuses.
func TestCommandNotRunnable(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("no program\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, command string
		status        int
	}{
		{"missing path", "/nowhere/no-such-command", 127},
		{"missing name", "no-such-command", 127},
		{"not executable", plain, 126},
		{"a directory", "/", 126},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newElection(t, fileStore(t))
			a := e.start(spec{id: "a", command: []string{c.command}, flags: []string{"--log-format", "text"}})
			a.exits(t, c.status, patient)
			var naming []string
			for line := range strings.Lines(readFile(a.log)) {
				if strings.Contains(line, c.command) {
					naming = append(naming, line)
				}
			}
			if c.command != "/" && len(naming) != 1 {
				t.Errorf("%d lines name the command, want one", len(naming))
			}
		})
	}
}

// Every signal that can be forwarded reaches the child.
func TestSignalsForwarded(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a := e.start(spec{id: "a", command: e.tame()})
		first := e.leads(a, nil)
		var want []string
		for _, sig := range []syscall.Signal{
			unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT, unix.SIGALRM,
		} {
			want = append(want, unix.SignalName(sig))
			a.signal(t, sig)
			waitFor(t, "the child to get "+unix.SignalName(sig), patient, func() bool { return len(e.signalsReceived()) >= len(want) })
		}
		e.childGot(first, want...)
		if !e.beating(first) {
			t.Error("the child is gone")
		}
	})
}

// What the child is born with is what it would have without leaderrun.
func TestChildAsWithout(t *testing.T) {
	t.Parallel()
	const script = `
		readlink /proc/$$/fd/*
		grep -E '^(SigBlk|SigIgn|SigCgt|Umask|Cap|NoNewPrivs|Seccomp:)' /proc/self/status
		pwd; umask; ulimit -a; ulimit -Ha; nice; cat /proc/self/oom_score_adj
		env | grep -v '^\(LEADERRUN_\|NOTIFY_SOCKET\|WATCHDOG_\|SHLVL\|_=\)' | sort
		read line; echo "input: $line"; cat <&3; cat <&7`
	for name, shell := range map[string]string{
		"plain":            `exec "$@"`,
		"umask and limits": `umask 037; ulimit -n 300; ulimit -c 0; cd /usr; exec "$@"`,
		"nice":             `exec nice -n 5 "$@"`,
		"ignored signals":  `trap '' HUP INT TSTP TTIN TTOU; exec "$@"`,
		"process 1":        `umask 037; trap '' HUP INT TSTP TTIN TTOU; exec ` + strings.Join(unshare, " ") + ` "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			e := newElection(t, fileStore(t))
			run := func(argv []string) string {
				cmd := exec.Command("/bin/sh", append([]string{"-c", shell, "sh"}, argv...)...)
				cmd.Env = append(cleanEnv(), "NOTIFY_SOCKET=/run/none", "WATCHDOG_USEC=1", "WATCHDOG_PID=1")
				out, log := filepath.Join(e.dir, "a.out"), filepath.Join(e.dir, "a.log")
				cmd.Stdin, cmd.Stdout, cmd.Stderr = inherited(t, e.dir, "input"), appendTo(t, out), appendTo(t, log)
				cmd.ExtraFiles = []*os.File{0: inherited(t, e.dir, "three"), 7 - firstExtra: inherited(t, e.dir, "seven")}
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				if err := cmd.Run(); err != nil {
					t.Errorf("%v\n%s", err, readFile(log))
				}
				defer func() { _ = os.Remove(out) }()
				return readFile(out)
			}
			command := []string{"/bin/sh", "-c", script}
			want, got := run(command), run(e.argv(spec{id: "a", command: command}))
			if got != want || !strings.Contains(got, "input: input\nthree\nseven\n") {
				t.Errorf("with leaderrun:\n%s\nwithout:\n%s", got, want)
			}
		})
	}
}

const firstExtra = 3 // the descriptor that exec.Cmd.ExtraFiles begins with

func inherited(t *testing.T, dir, name string) *os.File {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(name+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// The child learns its election, its candidate and its fencing token, and does
// not learn what is between leaderrun and systemd.
func TestChildEnvironment(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a := e.start(spec{id: "a", env: []string{
			"NOTIFY_SOCKET=/run/none", "WATCHDOG_USEC=1", "WATCHDOG_PID=1", "LEADERRUN_FENCING_TOKEN=1", "MINE=kept",
		}})
		first := e.leads(a, nil)
		env := environOf(first.mains[0])
		for _, want := range []string{
			"LEADERRUN_ELECTION=" + e.name, "LEADERRUN_CANDIDATE=a",
			fmt.Sprintf("LEADERRUN_FENCING_TOKEN=%d", first.token), "MINE=kept",
		} {
			if n := strings.Count("\x00"+strings.Join(env, "\x00")+"\x00", "\x00"+want+"\x00"); n != 1 {
				t.Errorf("%d times %s in the environment, want once: %v", n, want, env)
			}
		}
		for _, v := range env {
			if strings.HasPrefix(v, "NOTIFY_SOCKET=") || strings.HasPrefix(v, "WATCHDOG_") {
				t.Errorf("the child has %s", v)
			}
		}
		a.says(t, elected, 1, time.Second)
	})
}
