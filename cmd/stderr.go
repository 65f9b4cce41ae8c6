//go:build unix

package cmd

import (
	"runtime"
	"syscall"

	"leaderrun/supervisor/guard"
)

// writeStderr goes around os.Stderr, which would end this process with SIGPIPE
// when nobody reads standard error (os/signal), and would poll a descriptor
// that the child shares.
func writeStderr(line []byte) {
	for len(line) > 0 {
		n, err := syscall.Write(2, line)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return // broken or full: the line is lost
		}
		line = line[n:]
	}
}

// lockLogThread keeps the goroutine that writes on a thread that a terminal
// with tostop cannot stop the process by.
func lockLogThread() (unlock func()) {
	runtime.LockOSThread()
	restore := guard.BlockTTOU()
	return func() {
		restore()
		runtime.UnlockOSThread()
	}
}
