//go:build unix

package supervisor

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"leaderrun/supervisor/guard"
)

// An initProcess is process 1 of a container.
//
// It knows no election. It holds nothing, waits for nothing but signals, and
// when it ends the kernel kills whatever else is in the container: that is what
// ends a tree whose supervisor and guard were both killed.
type initProcess struct {
	supervisor int // its pid and process group; 0 once it is reaped
	status     syscall.WaitStatus
	lent       bool // the supervisor's group was given the terminal
	late       <-chan time.Time
}

// helpersTimeout is how long those that a killed supervisor has left may go on giving
// the lock back once process 1 is told to stop.
const helpersTimeout = time.Second

// Init starts this program again with the same arguments, as a child, and does
// beside it what is asked of process 1: it passes signals on and reaps whom
// nobody else does. It returns the child's exit status, 128+N for signal N.
//
// It stays for those that a supervisor which was killed, or could not release,
// leaves behind to give the lock back, and for nobody else; told to stop, for a
// moment only.
func Init(args []string) (status int, err error) {
	signals, died := make(chan os.Signal, 64), make(chan os.Signal, 1)
	catchSignals(signals)
	signal.Notify(died, syscall.SIGCHLD)
	var p initProcess
	if p.supervisor, err = guard.StartBelow(args); err != nil {
		return 0, fmt.Errorf("start below process 1: %w", err)
	}
	// The supervisor hands the terminal on to its child. Should that be quicker
	// than we are here, then what the keyboard sends goes by way of the supervisor.
	p.lent = guard.LendTerminal(p.supervisor)
	defer func(group int) {
		if p.lent {
			guard.TakeTerminal(group)
		}
	}(p.supervisor)
	for {
		select {
		case sig := <-signals:
			p.forward(sig.(syscall.Signal))
		case <-died:
			p.reap()
			if p.supervisor == 0 && !helpersLeft() {
				return guard.Result{Status: p.status}.ExitCode(), nil
			}
		case <-p.late:
			return guard.Result{Status: p.status}.ExitCode(), nil
		}
	}
}

func (p *initProcess) forward(sig syscall.Signal) {
	if p.supervisor == 0 {
		if p.late == nil && slices.Contains([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT}, sig) {
			p.late = time.After(helpersTimeout)
		}
		return
	}
	if sig == syscall.SIGCONT { // perhaps a shell's fg
		p.lent = guard.LendTerminal(p.supervisor) || p.lent
	}
	_ = syscall.Kill(p.supervisor, sig) // not reaped: the pid is its own
}

// reap takes every dead child, strangers too.
func (p *initProcess) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG|syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil || pid <= 0:
			return
		case pid != p.supervisor:
		case !status.Stopped():
			p.supervisor, p.status = 0, status
		case p.lent && status.StopSignal() == syscall.SIGTSTP:
			// Ctrl-Z. With process 1 in the foreground there is no shell that
			// could continue the job, whose lease is not renewed any more.
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// helpersLeft looks twice: a listing can miss one child while another ends.
func helpersLeft() bool {
	for range 2 {
		if left, err := guard.Helpers(); left || err != nil {
			return left // without a look at them there is no wait for them either
		}
	}
	return false
}
