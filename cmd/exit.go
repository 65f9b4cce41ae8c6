//go:build unix

package cmd

import (
	"errors"
	"fmt"
	"io/fs"

	"leaderrun/lock"
)

// Exit statuses of leaderrun itself; 64 to 78 as in sysexits.h, 126 and 127 as
// a shell has them. A child may use the same numbers: the last log line says
// whose it is.
const (
	exitUsage         = 64 // the command line is wrong
	exitUnavailable   = 69 // no store until --wait ended
	exitSoftware      = 70 // leaderrun's own fault
	exitNotElected    = 75 // not elected within --wait
	exitLost          = 76 // tenure lost under --exit-on-loss
	exitDenied        = 77 // credentials refused
	exitConfig        = 78 // bad configuration
	exitNotExecutable = 126
	exitNotFound      = 127
)

// A statusError is an error with the exit status that it ends leaderrun with.
type statusError struct {
	status int
	error
}

func (e statusError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return statusError{exitUsage, fmt.Errorf(format, args...)}
}

// exitStatus is the one place where an error becomes an exit status.
func exitStatus(err error) int {
	if e := (statusError{}); errors.As(err, &e) {
		return e.status
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, lock.ErrDenied):
		return exitDenied
	case errors.Is(err, lock.ErrConfig):
		return exitConfig
	case errors.Is(err, lock.ErrUnavailable):
		return exitUnavailable
	case errors.Is(err, lock.ErrHeld):
		return exitNotElected
	}
	return exitSoftware
}

// notStarted is the status of a command that cannot be executed, as a shell
// has it.
func notStarted(err error) int {
	if errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
}
