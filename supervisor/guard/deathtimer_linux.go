package guard

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"leaderrun/lock/bootclock"
)

// deathTimer is a kernel timer on CLOCK_BOOTTIME that SIGKILLs this process.
// Unlike anything that runs in the process it fires while the process is
// stopped, starved or in a frozen cgroup v2; the child then dies in the same
// instant by its parent-death signal.
type deathTimer struct{ id int32 }

// sigevent is struct sigevent of timer_create(2); 64 bytes on every Linux.
type sigevent struct {
	value  uintptr
	signo  int32
	notify int32
	_      [64 - unsafe.Sizeof(uintptr(0)) - 8]byte
}

func newDeathTimer() (*deathTimer, error) {
	t := &deathTimer{}
	e := sigevent{signo: int32(unix.SIGKILL)} // notify 0 is SIGEV_SIGNAL
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_BOOTTIME,
		uintptr(unsafe.Pointer(&e)), uintptr(unsafe.Pointer(&t.id)))
	if errno != 0 {
		return nil, fmt.Errorf("create kernel timer: %w", errno)
	}
	return t, nil
}

// set arms the timer for i, in place of what it was armed for.
func (t *deathTimer) set(i bootclock.Instant) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(i, 1)))}
	return t.settime(&spec)
}

// disarm stops the timer.
func (t *deathTimer) disarm() error { return t.settime(&unix.ItimerSpec{}) }

func (t *deathTimer) settime(spec *unix.ItimerSpec) error {
	const absolute = 1 // TIMER_ABSTIME
	_, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(t.id), absolute,
		uintptr(unsafe.Pointer(spec)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("set kernel timer: %w", errno)
	}
	return nil
}
