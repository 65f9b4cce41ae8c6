//go:build unix

package guard

import (
	"syscall"

	"leaderrun/lock/bootclock"
)

// forkExec is syscall.ForkExec, preceded by a last look at whether it may be. All that the guard
// starts is to run as leaderrun was told to, the second as the first, however it hurries itself.
func forkExec(path string, argv []string, attr *syscall.ProcAttr, allowed func() error) (pid int, err error) {
	unhurried(func() {
		if err = allowed(); err == nil {
			pid, err = syscall.ForkExec(path, argv, attr)
		}
	})
	return pid, err
}

// always allows a fork.
func always() error { return nil }

// inTime allows a fork before the deadline.
func (s *server) inTime() error {
	if bootclock.Now() >= s.deadline {
		return syscall.ETIME
	}
	return nil
}

// forkOnce starts a program beside the command's, in the tree's cgroup if there is one: that
// it cannot be started, as when the tree is too large, is no reason to go without.
func (s *server) forkOnce(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	s.cgroup.enter(attr.Sys)
	return forkExec(path, argv, attr, s.inTime)
}
