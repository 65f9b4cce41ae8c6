package guard

import (
	"os"
	"syscall"
)

// BlockTTOU does nothing: x/sys has no pthread_sigmask on macOS. A terminal
// with tostop can stop leaderrun there.
func BlockTTOU() (restore func()) { return func() {} }

// DefaultTSTP stops this process by SIGSTOP: SIGTSTP cannot be given back to
// the kernel here.
func DefaultTSTP() (catch func()) {
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	return func() {}
}
