//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A terminal is a pty with an interactive bash on it, as a person has one.
type terminal struct {
	t      testing.TB
	e      *election
	master *os.File

	mu    sync.Mutex
	shown bytes.Buffer
	read  int // how much of it a test has looked at
}

const (
	ctrlC = "\x03"
	ctrlD = "\x04"
	ctrlZ = "\x1a"
)

// terminal opens a terminal that is closed at the end of the test.
func (e *election) terminal() *terminal {
	e.t.Helper()
	master, slave := openPTY(e.t)
	x := &terminal{t: e.t, e: e, master: master}
	shell := exec.Command("bash", "--norc", "--noprofile", "--noediting", "-i")
	shell.Env = append(cleanEnv(), "PS1=ready> ", "HISTFILE=", "TERM=dumb")
	shell.Stdin, shell.Stdout, shell.Stderr = slave, slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		e.t.Fatal(err)
	}
	_ = slave.Close() // the shell has it
	gone := make(chan struct{})
	go x.listen(gone)
	e.t.Cleanup(func() {
		if e.t.Failed() {
			x.mu.Lock()
			e.t.Logf("terminal:\n%s", x.shown.String())
			x.mu.Unlock()
		}
		_ = shell.Process.Kill()
		_ = shell.Wait()
		_ = master.Close()
		<-gone
	})
	x.shows("ready> ")
	return x
}

func openPTY(t testing.TB) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "ptmx") // non-blocking: Close ends a Read
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func (x *terminal) listen(gone chan struct{}) {
	defer close(gone)
	buf := make([]byte, 4096)
	for {
		n, err := x.master.Read(buf)
		x.mu.Lock()
		x.shown.Write(buf[:n])
		x.mu.Unlock()
		if err != nil {
			return // EIO: nobody has the other side any more
		}
	}
}

func (x *terminal) types(text string) {
	x.t.Helper()
	if _, err := x.master.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

// shows waits for text after what was looked at so far, and looks at it.
func (x *terminal) shows(text string) {
	x.t.Helper()
	waitFor(x.t, fmt.Sprintf("the terminal to show %q", text), patient, func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		at := strings.Index(x.shown.String()[x.read:], text)
		if at >= 0 {
			x.read += at + len(text)
		}
		return at >= 0
	})
}

// says types a shell command, waits for what it prints, and for the next prompt.
func (x *terminal) says(command, want string) {
	x.t.Helper()
	x.types(command + "\n")
	x.shows("\n" + want) // the line typed is echoed, but not at the start of one
	x.shows("ready> ")
}

// starts types the command line of a candidate with what follows it, such as &.
// Its log goes to the usual file unless that says otherwise.
func (x *terminal) starts(s spec, suffix string) *candidate {
	x.t.Helper()
	c := &candidate{id: s.id, log: filepath.Join(x.e.dir, s.id+".log")}
	if !strings.Contains(suffix, "2>") {
		suffix = " 2>>" + c.log + suffix
	}
	argv := x.e.argv(s)
	x.types("'" + strings.Join(argv, "' '") + "'" + suffix + "\n")
	if strings.HasSuffix(suffix, "&") {
		x.shows("ready> ")
	}
	waitFor(x.t, "the process of candidate "+s.id, patient, func() bool {
		for _, p := range processes(x.t) {
			if slices.Equal(p.args, argv) && parentIs(p, "bash") {
				c.pid = p.pid
			}
		}
		return c.pid != 0
	})
	x.e.add(c)
	return c
}

// stopped waits until a process is stopped, as by Ctrl-Z.
func stopped(t testing.TB, pid int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d to be stopped", pid), patient, func() bool { return stateOf(pid) == "T" })
}

// gone waits until a candidate that the shell started has ended.
func (c *candidate) gone(t testing.TB, limit time.Duration) {
	t.Helper()
	waitFor(t, c.id+" to be gone", limit, func() bool { s := stateOf(c.pid); return s == "" || s == "Z" })
}

// suspends types Ctrl-Z and waits until the shell has its terminal back, and the
// child and the supervisor, but not the guard, are stopped.
func (x *terminal) suspends(c *candidate, child int) {
	x.t.Helper()
	x.types(ctrlZ)
	x.shows("Stopped")
	x.shows("ready> ")
	stopped(x.t, c.pid)
	stopped(x.t, child)
	if stateOf(c.theGuard(x.t)) == "T" {
		x.t.Error("the guard is stopped too")
	}
}

// resumes types fg or bg and waits until the stopped child has gone on for longer
// than leaderrun takes to be ready for the next Ctrl-Z.
func (x *terminal) resumes(command string, n *tenure) {
	x.t.Helper()
	x.types(command + "\n")
	x.e.beatsAgain(n)
	pass(200 * time.Millisecond)
	x.e.beatsAgain(n)
}

// brings types fg for a job that runs, of which bash sends no signal, and waits
// until the terminal is leaderrun's or its child's.
func (x *terminal) brings(c *candidate) {
	x.t.Helper()
	x.types("fg\n")
	waitFor(x.t, c.id+" to be in the foreground", patient, func() bool {
		return inForeground(c.pid) || inForeground(c.said(childStarted)[0].pid(x.t))
	})
}

func foreground(t testing.TB, pid int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d to be in the foreground", pid), patient, func() bool { return inForeground(pid) })
}

// inForeground tells whether a process may read its terminal.
func inForeground(pid int) bool {
	f := strings.Fields(afterName(readFile(fmt.Sprintf("/proc/%d/stat", pid))))
	return len(f) > 5 && f[2] == f[5] // process group, the terminal's process group
}
