//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// exhaustionFaults leave a process what it has, and no more.
var exhaustionFaults = []*faultKind{
	{name: "descriptors of the supervisor exhausted", weight: 1, acts: limited(theSupervisor, unix.RLIMIT_NOFILE, descriptorsOf)},
	{name: "descriptors of the guard exhausted", weight: 1, acts: limited(aGuard, unix.RLIMIT_NOFILE, descriptorsOf)},
	{name: "memory of the supervisor exhausted", weight: 1, acts: limited(theSupervisor, unix.RLIMIT_AS, memoryOf)},
	{name: "memory of the guard exhausted", weight: 1, acts: limited(aGuard, unix.RLIMIT_AS, memoryOf)},
	{name: "processes of the candidate exhausted", weight: 1, acts: noProcesses},
}

func descriptorsOf(pid int) uint64 {
	open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return uint64(len(open))
}

// memoryOf is the address space in use, to which Go's runtime adds by mapping more.
func memoryOf(pid int) uint64 {
	_, after, _ := strings.Cut(readFile(fmt.Sprintf("/proc/%d/status", pid)), "VmSize:")
	kb, _ := strconv.ParseUint(strings.Fields(after + " 0")[0], 10, 64)
	return kb << 10
}

// limited sets a process's limit to what it uses, and undoes that.
func limited(w whom, resource int, used func(pid int) uint64) func(*chaos, *place, step) []act {
	return func(c *chaos, p *place, s step) (acts []act) {
		for _, process := range p.processes(c.t, w.supervisor, w.guard) {
			var before unix.Rlimit
			set := func(limit func() unix.Rlimit) func() error {
				return func() error {
					if err := process.Signal(unix.Signal(0)); err != nil {
						return err
					}
					l := limit()
					return unix.Prlimit(process.Pid, resource, &l, nil)
				}
			}
			if err := unix.Prlimit(process.Pid, resource, nil, &before); err != nil {
				continue // has ended
			}
			acts = between(c.long(s), set(func() unix.Rlimit {
				return unix.Rlimit{Cur: min(used(process.Pid), before.Max), Max: before.Max}
			}), set(func() unix.Rlimit { return before }))
		}
		return acts
	}
}

// A pidsLimit is a cgroup of the pids controller, of version 1 or 2.
type pidsLimit struct{ dir, root string }

// newPidsLimit makes one that ends with the test, when what was in it has ended. It is
// nil, and processes are not exhausted, where the machine has none to be written.
func newPidsLimit(t testing.TB) *pidsLimit {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		l := &pidsLimit{filepath.Join(root, "leaderrun-chaos-"+strconv.Itoa(os.Getpid())+"-"+strconv.FormatInt(int64(now()), 36)), root}
		if os.Mkdir(l.dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(l.dir, "pids.max")); err != nil {
			_ = os.Remove(l.dir)
			continue
		}
		t.Cleanup(func() {
			waitFor(t, "the cgroup to be empty", patient, func() bool { return os.Remove(l.dir) == nil })
		})
		return l
	}
	t.Log("no cgroup with pids.max may be made: processes are not exhausted")
	return nil
}

func (l *pidsLimit) write(file, value string) error {
	return os.WriteFile(filepath.Join(l.dir, file), []byte(value), 0o644)
}

// noProcesses puts the candidate with its child into a cgroup that is full, and makes
// room again. They stay there.
func noProcesses(c *chaos, p *place, s step) []act {
	if c.pids == nil {
		return nil
	}
	hit := p.processes(c.t, true, true)
	fill := func() error {
		errs := []error{c.pids.write("pids.max", "max")}
		for _, process := range hit {
			if err := c.pids.write("cgroup.procs", strconv.Itoa(process.Pid)); !errors.Is(err, unix.ESRCH) {
				errs = append(errs, err)
			}
		}
		inUse := strings.TrimSpace(readFile(filepath.Join(c.pids.dir, "pids.current")))
		return errors.Join(append(errs, c.pids.write("pids.max", inUse))...)
	}
	return between(min(c.long(s), 5*time.Second), fill, func() error { return c.pids.write("pids.max", "max") })
}
