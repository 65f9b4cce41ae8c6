//go:build linux

package main

import (
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A hopper beats once, forks itself and ends: nobody who looks at the processes one
// after the other need ever see it. Its forks are made with raw system calls and
// execute no program, which would take a hundred times as long. As in package syscall,
// what runs in the fork neither allocates nor grows its stack, for there is nobody to
// do it: it is one thread of a Go program, without the others.

// hopEvery is what keeps a storm from taking the machine: while the guard is stopped
// nobody reaps, and each hop leaves a zombie.
const hopEvery = 5 * time.Millisecond

// A hopping is all that a fork needs.
type hopping struct {
	fd    uintptr
	until int64
	tail  [128]byte // of a beat: " ROLE TOKEN CANDIDATE\n"
	size  int
	line  [192]byte
}

func hop(o options) {
	f, err := os.OpenFile(o.beats, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		fail("beats", err)
	}
	h := &hopping{fd: f.Fd(), until: now() + int64(o.life)}
	h.size = copy(h.tail[:], " "+o.role+" "+orDash("LEADERRUN_FENCING_TOKEN")+" "+orDash("LEADERRUN_CANDIDATE")+"\n")
	runtime.LockOSThread()
	h.fork()
	os.Exit(0)
}

// fork returns in the first process only.
//
//go:nosplit
//go:norace
func (h *hopping) fork() {
	for first := true; ; first = false {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if pid != 0 && errno == 0 {
			if first {
				return
			}
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		var ts unix.Timespec
		_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0)
		at := ts.Sec*1e9 + ts.Nsec
		if at > h.until {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		if errno == 0 { // or there are too many processes: again, but no beat twice
			me, _, _ := unix.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
			h.beat(at, int64(me))
		}
		ts = unix.Timespec{Nsec: int64(hopEvery)}
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
}

//go:nosplit
//go:norace
func (h *hopping) beat(at, pid int64) {
	n := h.number(0, at)
	h.line[n] = ' '
	n = h.number(n+1, pid)
	for i := 0; i < h.size; i++ {
		h.line[n+i] = h.tail[i]
	}
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, h.fd, uintptr(unsafe.Pointer(&h.line)), uintptr(n+h.size))
}

// number writes v into the line from i on and returns where it ends.
//
//go:nosplit
//go:norace
func (h *hopping) number(i int, v int64) int {
	digits := 1
	for rest := v / 10; rest > 0; rest /= 10 {
		digits++
	}
	for at := i + digits - 1; at >= i; at-- {
		h.line[at] = byte('0' + v%10)
		v /= 10
	}
	return i + digits
}
