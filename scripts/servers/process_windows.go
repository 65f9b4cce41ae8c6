package servers

import (
	"errors"
	"os"
	"syscall"
)

// The package builds on Windows, so that what imports it can be vetted for it;
// it starts no server there.
var (
	errLocked      = errors.New("locked")
	errUnsupported = errors.New("test servers do not run on Windows")
)

func tryFlock(*os.File) error { return errUnsupported }

func (p *process) pause() error  { return errUnsupported }
func (p *process) resume() error { return errUnsupported }

func terminate(*os.Process) error { return errUnsupported }

func alive(int) bool { return false }

func sysProcAttr(bool) *syscall.SysProcAttr { return nil }

func identity(int) (string, error) { return "", errUnsupported }
