//go:build unix

package guard

import (
	"errors"
	"os"
	"syscall"
)

// A process is one line of the process table.
type process struct {
	pid, parent int
	group       int
	start       uint64 // in the kernel's unit: with pid it names a process for good
	state       byte
}

// descendants returns what is below root, parents before children, without
// the processes that foreign names and what is below those.
func descendants(root int, foreign func(process) bool) ([]process, error) {
	var found []process
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		children, err := below(queue[0])
		if err != nil {
			return found, err
		}
		for _, p := range children {
			if foreign == nil || !foreign(p) {
				found = append(found, p)
				queue = append(queue, p.pid)
			}
		}
	}
	return found, nil
}

// killBelow sends SIGKILL once to all that is below this process and returns
// what that was, zombies included, and the first that may not be killed. A
// zombie gets it too: when only its main thread has ended, others run on.
func killBelow(foreign func(process) bool) (found []process, denied *process, err error) {
	self := os.Getpid()
	found, err = descendants(self, foreign)
	for _, p := range found {
		var kerr error
		if p.parent == self {
			// Nobody else reaps our children: the pid cannot be another's.
			kerr = syscall.Kill(p.pid, syscall.SIGKILL)
		} else {
			kerr = killDeep(p)
		}
		if errors.Is(kerr, syscall.EPERM) && denied == nil {
			denied = &p
		}
	}
	return found, denied, err
}
