package bootclock

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Now reads CLOCK_BOOTTIME.
func Now() Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("read CLOCK_BOOTTIME: %v", err)) // Linux 2.6.39 has it
	}
	return Instant(ts.Nano())
}

// timer is a timerfd; one goroutine waits for it in the runtime's poller.
type timer struct {
	f *os.File
	c chan struct{}
}

func newTimer() (Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	t := &timer{f: os.NewFile(uintptr(fd), "timerfd"), c: make(chan struct{}, 1)}
	go t.wait()
	return t, nil
}

func (t *timer) wait() {
	var b [8]byte
	for {
		if _, err := t.f.Read(b[:]); err != nil {
			return // closed
		}
		if binary.NativeEndian.Uint64(b[:]) == 0 {
			continue
		}
		select {
		case t.c <- struct{}{}:
		default:
		}
	}
}

func (t *timer) C() <-chan struct{} { return t.c }

func (t *timer) Reset(i Instant) {
	i = max(i, 1) // zero would disarm
	raw, err := t.f.SyscallConn()
	if err != nil {
		return // closed
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(i))}
	_ = raw.Control(func(fd uintptr) {
		if err := unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
			panic(fmt.Sprintf("set timer: %v", err)) // only for arguments that cannot be
		}
	})
}

func (t *timer) Close() error { return t.f.Close() }
