//go:build unix

package guard

import (
	"errors"
	"runtime"
	"syscall"

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

// returnTerminal gives the foreground back to the group to, if the child's group
// has it, or one that does not exist any more.
func returnTerminal(child, to int) {
	front, ok := foreground()
	if ok && (front == child || errors.Is(syscall.Kill(-front, 0), syscall.ESRCH)) {
		handTerminal(front, to)
	}
}

// InFront reports whether this process's group has the terminal: Ctrl-C then
// reaches all of it.
func InFront() bool {
	front, ok := foreground()
	return ok && front == syscall.Getpgrp()
}

// alone reports whether a process leads a process group that has no other
// member. Where it has, as in a pipeline or a script, a child in a group of its
// own could not have the terminal without taking it from the others, so it has
// to share the group.
func alone(leader, group int) bool {
	if leader != group {
		return false
	}
	all, err := processes()
	for _, p := range all {
		if p.group == group && p.pid != leader {
			return false
		}
	}
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
