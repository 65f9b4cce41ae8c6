//go:build unix

package supervisor

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/supervisor/guard"
)

// catchSignals takes every signal that can be passed on, but for those that
// were ignored when leaderrun started: they stay ignored, here and in the
// child. It never stops: what comes when all is over must not change how leaderrun
// ends, and to let go of sixty signals takes milliseconds.
func catchSignals(signals chan<- os.Signal) {
	for _, sig := range forwarded() {
		if !guard.Ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
}

// forwarded lists the signals that are passed on. Left out: what cannot be
// caught; CHLD, PIPE, URG and PROF, which the kernel and Go's runtime send for
// reasons of their own; TTIN and TTOU, which are for this process; what a
// fault raises; and 32 to 34, which C libraries keep for themselves.
func forwarded() (signals []syscall.Signal) {
	not := []syscall.Signal{
		syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGPROF,
		syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL,
		syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGXFSZ, 32, 33, 34,
	}
	last := syscall.Signal(31)
	if runtime.GOOS == "linux" {
		last = 64 // real-time signals
	}
	for sig := syscall.Signal(1); sig <= last; sig++ {
		if !slices.Contains(not, sig) {
			signals = append(signals, sig)
		}
	}
	return signals
}

// endsStandby acts on a signal that came while there is no child, and reports
// whether it ends the campaign. What is not meant as a stop is ignored:
// reloads and logrotate reach every host.
func (r *run) endsStandby(sig os.Signal) bool {
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		return true
	case syscall.SIGHUP:
		return terminalLost()
	case syscall.SIGTSTP:
		<-r.stopSelf(os.Getpid())
		r.catchTSTP()
	}
	return false
}

// hadTerminal is read once, before a terminal can be lost.
var hadTerminal = openTerminal() == nil

func terminalLost() bool { return hadTerminal && openTerminal() != nil }

func openTerminal() error {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// stopSelf stops this process by SIGTSTP sent to a pid, or a group as kill(2)
// has it, that it is in. It returns a channel that receives when it was
// continued, or was not stopped because nobody is there to continue it (an
// orphaned group, see setpgid(2)); catchTSTP is due then.
func (r *run) stopSelf(to int) (resume <-chan time.Time) {
	r.catchTSTP = guard.DefaultTSTP()
	_ = syscall.Kill(to, syscall.SIGTSTP)
	// Longer than a signal takes to stop a process. Go's timers run on while
	// it is stopped, so this adds no wait afterwards.
	return time.After(100 * time.Millisecond)
}
