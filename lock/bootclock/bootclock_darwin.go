package bootclock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Now reads CLOCK_MONOTONIC, which on macOS runs on while asleep
// (clock_gettime(3): mach_continuous_time).
func Now() Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("read CLOCK_MONOTONIC: %v", err))
	}
	return Instant(ts.Nano())
}
