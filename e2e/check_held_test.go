//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A heldCheck is a check that cannot go on: its standard output takes one line,
// and that has not been read.
type heldCheck struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *os.File
	done chan struct{}
}

// holdCheck returns when the line that begins so is written, and the check is at
// most one line further.
func holdCheck(t testing.TB, line string, flags ...string) *heldCheck {
	t.Helper()
	// In packet mode each write has a slot of its own, of which there is one.
	var fds [2]int
	must(t, unix.Pipe2(fds[:], unix.O_DIRECT|unix.O_CLOEXEC))
	in, out := os.NewFile(uintptr(fds[1]), "in"), os.NewFile(uintptr(fds[0]), "out")
	if _, err := unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		t.Fatal(err)
	}
	h := &heldCheck{t, exec.Command(leaderrunBin, append([]string{"check"}, flags...)...), out, make(chan struct{})}
	h.cmd.Env, h.cmd.Stdout = cleanEnv(), in
	must(t, h.cmd.Start())
	must(t, in.Close())
	t.Cleanup(func() {
		_ = h.cmd.Process.Kill()
		_ = out.Close()
		<-h.done
	})
	go func() {
		defer close(h.done)
		_ = h.cmd.Wait() // the state says it all
	}()
	said := ""
	for b := make([]byte, os.Getpagesize()); ; {
		n, err := out.Read(b)
		if err != nil {
			t.Fatalf("it ended (%v) before it said %q:\\n%s", err, line, said)
		}
		said += string(b[:n])
		if strings.HasPrefix(string(b[:n]), line) {
			return h
		}
	}
}

// An ending of a check, and what its parent sees.
type ending struct {
	do     func(h *heldCheck)
	signal syscall.Signal // that it died of, or
	status int
}

func signalled(s syscall.Signal) func(*heldCheck) {
	return func(h *heldCheck) {
		kill(h.t, s, h.cmd.Process.Pid)
		go func() { // what it still has to say
			for b := make([]byte, os.Getpagesize()); ; {
				if _, err := h.out.Read(b); err != nil {
					return
				}
			}
		}()
	}
}

var checkEndings = map[string]ending{
	"SIGTERM":     {signalled(unix.SIGTERM), 0, 128 + 15},
	"Ctrl-C":      {signalled(unix.SIGINT), unix.SIGINT, 0},
	"reader gone": {func(h *heldCheck) { _ = h.out.Close() }, 0, 128 + 13},
}

// ends ends the check and asserts how.
func (h *heldCheck) ends(e ending) {
	h.t.Helper()
	e.do(h)
	waitFor(h.t, "the end of the check", patient, func() bool {
		select {
		case <-h.done:
			return true
		default:
			return false
		}
	})
	ws := h.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if e.signal != 0 && (!ws.Signaled() || ws.Signal() != e.signal) || e.signal == 0 && ws.ExitStatus() != e.status {
		h.t.Errorf("it ended with %v, want signal %d or status %d", h.cmd.ProcessState, e.signal, e.status)
	}
}
