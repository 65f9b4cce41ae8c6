//go:build unix

package guard

import (
	"errors"
	"os"
	"slices"
	"syscall"
)

// A process is one line of the process table.
type process struct {
	pid, parent int
	group       int
	start       uint64 // in the kernel's unit: with pid it names a process for good
	state       byte
	flags       uint64 // Linux: PF_ of include/linux/sched.h
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
// zombie gets it too: when only its main thread has ended, others run on. group
// is the tree's process group, to be killed first, or 0.
func killBelow(foreign func(process) bool, group int) (found []process, denied *process, err error) {
	self := os.Getpid()
	if group != 0 {
		// Before the look at what is deeper, which takes long when there is much.
		children, err := below(self)
		if err != nil {
			return nil, nil, err
		}
		// Nobody else reaps our children, zombies included: while one is in the
		// group, that cannot be another's.
		in := func(p process) bool { return p.group == group && !foreign(p) }
		if slices.ContainsFunc(children, in) {
			_ = syscall.Kill(-group, syscall.SIGKILL)
		}
	}
	found, err = descendants(self, foreign)
	for _, p := range found {
		var kerr error
		if p.parent == self {
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
