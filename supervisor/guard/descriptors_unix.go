//go:build unix

package guard

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeFD is write(2), restarted when a signal cuts in. It goes around
// os.File, which would wait.
func writeFD(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Write(fd, b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// inherited returns the descriptor table for a process that gets every
// descriptor that is not close-on-exec, and ours, all at the numbers they
// have here. (os/exec's ExtraFiles would put ours over the user's 3.)
func inherited(ours ...*os.File) []uintptr {
	const closed = ^uintptr(0)
	last := 2
	for _, f := range ours {
		last = max(last, int(f.Fd()))
	}
	table := make([]uintptr, last+1)
	for fd := range table {
		table[fd] = closed
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 || fd <= 2 {
			table[fd] = uintptr(fd)
		}
	}
	for _, f := range ours {
		table[f.Fd()] = f.Fd()
	}
	return table
}
