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
	all, err := processes()
	if err != nil {
		return nil, err
	}
	children := make(map[int][]process)
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	var found []process
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, p := range children[queue[0]] {
			if foreign == nil || !foreign(p) {
				found = append(found, p)
				queue = append(queue, p.pid)
			}
		}
	}
	return found, nil
}

// killBelow sends SIGKILL once to all that is below this process and returns
// how many that were, zombies included, and the first that may not be killed.
func killBelow(foreign func(process) bool) (found []process, denied *process, err error) {
	self := os.Getpid()
	found, err = descendants(self, foreign)
	for _, p := range found {
		if p.state == 'Z' {
			continue
		}
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
