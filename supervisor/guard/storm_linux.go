package guard

import (
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hurry puts this process before the ordinary ones, where that is allowed: of
// two thousand that are ready to run, as in a fork storm, it would otherwise be
// one, and seconds late; so it would under `nice`, where others are busy.
//
// Under a seccomp filter nobody asks: as systemd's SystemCallFilter=~@resources
// is meant, the kernel kills whoever does, and with the guard the child.
//
// What is forked then hurries too, unless it is forked by unhurried.
func hurry() {
	hurrying.Lock()
	defer hurrying.Unlock()
	if mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err == nil && mode != 0 {
		return
	}
	now, err := unix.SchedGetAttr(0, 0)
	if err != nil || now.Policy == unix.SCHED_FIFO || now.Policy == unix.SCHED_RR || now.Policy == unix.SCHED_DEADLINE {
		return
	}
	if hurrying.given == nil {
		hurrying.given = &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: now.Policy, Nice: now.Nice}
	}
	realTime := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	nice := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: -20}
	threads, _ := list("/proc/self/task")
	for _, name := range threads {
		tid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		for _, attr := range []unix.SchedAttr{realTime, nice} {
			if unix.SchedSetAttr(tid, &attr, 0) == nil {
				break
			}
		}
	}
}

var hurrying struct {
	sync.Mutex
	given *unix.SchedAttr // what this process had before; nil if it never hurried
}

// unhurried calls f, on a thread that the caller has locked, with the priority that this
// process was given. A thread that stayed without hurry would do for that, too, but in a storm
// keep the others waiting.
func unhurried(f func()) {
	hurrying.Lock()
	defer hurrying.Unlock()
	if hurrying.given != nil {
		now, err := unix.SchedGetAttr(0, 0)
		if err == nil && unix.SchedSetAttr(0, hurrying.given, 0) == nil {
			defer func() { _ = unix.SchedSetAttr(0, now, 0) }()
		}
	}
	f()
}

// killChildren kills our children as fast as they are listed: of what forks and
// ends at once nothing is left when each has been looked at first. Nobody else
// reaps them, and the caller not meanwhile, so that each pid stays its own.
func killChildren() {
	pids, _ := childrenOf(os.Getpid())
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
