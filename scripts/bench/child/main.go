//go:build linux

// Command child is the command that the benchmark runs under a lock. Its first
// act is to read the clock; then it tells the benchmark, and lives until the
// benchmark says or ends. It imports next to nothing, for its own start is part
// of every figure.
//
//	child STAMPS END    two FIFOs: one takes the stamp, the other ends it
package main

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil || len(os.Args) != 3 {
		os.Exit(2)
	}
	// Without a reader or a writer there is no benchmark any more: not to block
	// is to end.
	stamps, err := unix.Open(os.Args[1], unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		os.Exit(1)
	}
	line := strconv.AppendInt(nil, now.Nano(), 10)
	line = append(line, ' ')
	line = strconv.AppendInt(line, int64(os.Getpid()), 10)
	if _, err = unix.Write(stamps, append(line, '\n')); err != nil {
		os.Exit(1)
	}
	end, err := unix.Open(os.Args[2], unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil || unix.SetNonblock(end, false) != nil {
		os.Exit(1)
	}
	for {
		_, err = unix.Read(end, make([]byte, 1))
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
