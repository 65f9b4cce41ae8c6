//go:build unix

package contract

import (
	"os"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// inherit returns the ticket as the guard has it: its own descriptor of the
// same open file.
func inherit(p *place, t lock.Ticket) lock.Ticket {
	if t.File == nil {
		return t
	}
	conn, err := t.File.SyscallConn()
	if err != nil {
		p.Errorf("file of a ticket: %v", err)
		return t
	}
	var fd int
	_ = conn.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		p.Errorf("file of a ticket: %v", err)
		return t
	}
	t.File = os.NewFile(uintptr(fd), t.File.Name())
	p.Cleanup(func() { _ = t.File.Close() })
	return t
}
