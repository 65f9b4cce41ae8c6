//go:build unix && !linux

package servers

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// No parent-death signal here: a SIGKILLed test leaves its servers behind.
func sysProcAttr(detached bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: detached, Setpgid: !detached}
}

// identity tells a process from a later one with the same number, to the second.
func identity(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "lstart=", "-p", fmt.Sprint(pid)).Output()
	if err != nil {
		return "", os.ErrProcessDone
	}
	return strings.Join(strings.Fields(string(out)), " "), nil
}
