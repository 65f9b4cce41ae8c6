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

// below returns the descendants of a process.
func below(pid int) (found []identity) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	parents := map[int]int{}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			if f, ok := stat(n); ok {
				parents[n], _ = strconv.Atoi(f[1])
			}
		}
	}
	for n := range parents {
		for p := parents[n]; p > 0; p = parents[p] {
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
