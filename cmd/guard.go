//go:build unix

package cmd

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"leaderrun/supervisor/guard"
)

// guardMain is the hidden command that leaderrun starts itself with:
// guard CONTROL REPORTS HELD CGROUP -- COMMAND [ARG...], the first three being
// descriptors.
func guardMain(args []string) int {
	if len(args) < 6 || args[4] != "--" {
		fmt.Fprintln(os.Stderr, "leaderrun: guard is started by leaderrun itself")
		return exitUsage
	}
	var fds [3]int
	for i := range fds {
		var err error
		if fds[i], err = strconv.Atoi(args[i]); err != nil {
			fmt.Fprintln(os.Stderr, "leaderrun: guard is started by leaderrun itself")
			return exitUsage
		}
	}
	return guard.Serve(fds[0], fds[1], fds[2], args[3], args[5:])
}

// sentinelMain is the hidden command that stands beside a guard: sentinel CGROUP.
func sentinelMain(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "leaderrun: sentinel is started by leaderrun itself")
		return exitUsage
	}
	return guard.Watch(args[0])
}

// stopSignal is the flag --stop-signal: TERM, SIGTERM or 15.
type stopSignal syscall.Signal

const defaultStopSignal = stopSignal(syscall.SIGTERM)

func (s *stopSignal) Type() string { return "signal" }

func (s *stopSignal) String() string {
	return strings.TrimPrefix(unix.SignalName(syscall.Signal(*s)), "SIG")
}

func (s *stopSignal) Set(v string) error {
	if n, err := strconv.Atoi(v); err == nil && n > 0 && n < 65 {
		*s = stopSignal(n)
		return nil
	}
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(v), "SIG"))
	if sig == 0 {
		return fmt.Errorf("%q is not a signal: write it like TERM, SIGTERM or 15", v)
	}
	*s = stopSignal(sig)
	return nil
}
