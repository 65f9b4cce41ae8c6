//go:build unix

package guard

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// foreground returns the process group in the foreground of our controlling
// terminal; ok is false without a terminal.
func foreground() (group int, ok bool) {
	err := onTerminal(func(fd int) (err error) {
		group, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	return group, err == nil
}

// handTerminal puts a process group into the foreground if the group from is
// there now. It works from the background: TTOU, which the kernel would
// answer with, is blocked in the thread for that call (tcsetpgrp(3)).
func handTerminal(from, to int) bool {
	err := onTerminal(func(fd int) error {
		group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		if err != nil {
			return err
		}
		if group != from {
			return unix.EPERM
		}
		return withoutTTOU(func() error {
			return unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, to)
		})
	})
	return err == nil
}

// onTerminal opens the controlling terminal for one call, so that no
// descriptor to it stays open.
func onTerminal(f func(fd int) error) error {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return f(fd)
}

func withoutTTOU(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore := BlockTTOU()
	defer restore()
	return f()
}
