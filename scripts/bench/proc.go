//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock/bootclock"
)

// An identity tells a process from a later one of the same number.
type identity struct {
	pid   int
	start string // field 22 of proc_pid_stat(5)
}

// identify returns false for a process that is gone or a zombie.
func identify(pid int) (identity, bool) {
	f, ok := stat(pid)
	if !ok || f[0] == "Z" || f[0] == "X" {
		return identity{}, false
	}
	return identity{pid, f[19]}, true
}

func (i identity) alive() bool {
	now, ok := identify(i.pid)
	return ok && now == i
}

// stat returns the fields from the third on.
func stat(pid int) ([]string, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, false
	}
	// The command's name may hold spaces and brackets: count from its end.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	return fields, len(fields) > 19
}

// parents returns that of each process.
func parents() map[int]int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	above := map[int]int{}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			if f, ok := stat(n); ok {
				above[n], _ = strconv.Atoi(f[1])
			}
		}
	}
	return above
}

// below returns the descendants of a process.
func below(pid int) (found []identity) {
	above := parents()
	for n := range above {
		for p := above[n]; p > 0; p = above[p] {
			if p == pid {
				if id, ok := identify(n); ok {
					found = append(found, id)
				}
				break
			}
		}
	}
	return found
}

// descends tells whether a process is another one or one of its descendants.
func descends(pid, from int) bool {
	for pid > 1 && pid != from {
		f, ok := stat(pid)
		if !ok {
			return false
		}
		pid, _ = strconv.Atoi(f[1])
	}
	return pid == from
}

// watchDeath returns a channel that receives the moment at which the process ends,
// reaped or not; it is closed if that is not within the limit.
func watchDeath(pid int, limit time.Duration) (<-chan bootclock.Instant, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	died := make(chan bootclock.Instant, 1)
	go func() {
		defer close(died)
		defer unix.Close(fd) //nolint:errcheck // nothing was written
		deadline := bootclock.Now().Add(limit)
		for left := limit; left > 0; left = deadline.Until() {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
			if err == nil && n == 1 {
				died <- bootclock.Now()
				return
			}
		}
	}()
	return died, nil
}

// cpuTime is what a process has had of processors: user and system, threads that have
// ended too, on the clock that clock_getcpuclockid(3) computes. It counts in
// nanoseconds what /proc/PID/stat says in hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// preferred is how much nicer all others are than who is preferred.
const preferred = 10

// prefer does so for all threads of a process (setpriority(2) is for one).
func prefer(pid int) error {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range threads {
		tid, _ := strconv.Atoi(t.Name())
		if e := unix.Setpriority(unix.PRIO_PROCESS, tid, -preferred); e != nil && e != unix.ESRCH {
			err = fmt.Errorf("prefer process %d: %w", pid, e)
		}
	}
	return err
}
