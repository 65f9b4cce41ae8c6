//go:build linux

package main

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// beat appends "NANOSECONDS PID ROLE TOKEN CANDIDATE" once a millisecond, for
// ever. The time is CLOCK_BOOTTIME, which is one clock for all processes, and is
// read before the write: a beat never claims a later moment than was lived. The
// file is open for appending, so whole lines of many processes follow each other.
func beat(o options) {
	runtime.LockOSThread()
	f, err := os.OpenFile(o.beats, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		fail("beats", err)
	}
	tail := " " + strconv.Itoa(os.Getpid()) + " " + o.role +
		" " + orDash("LEADERRUN_FENCING_TOKEN") + " " + orDash("LEADERRUN_CANDIDATE") + "\n"
	for next := now(); ; next += int64(time.Millisecond) {
		at := now()
		if _, err := f.WriteString(strconv.FormatInt(at, 10) + tail); err != nil {
			fail("beats", err)
		}
		if at > next+int64(10*time.Millisecond) {
			next = at // was stopped or starved: no burst to catch up
		}
		sleepUntil(next + int64(time.Millisecond))
	}
}

func orDash(variable string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return "-"
}

func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		fail("clock", err)
	}
	return ts.Nano()
}

// sleepUntil asks the kernel itself: Go's timers round up to two milliseconds.
func sleepUntil(at int64) {
	ts := unix.NsecToTimespec(at)
	for errors.Is(unix.ClockNanosleep(unix.CLOCK_BOOTTIME, unix.TIMER_ABSTIME, &ts, nil), unix.EINTR) {
	}
}
