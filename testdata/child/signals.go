//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// catchSignals leaves every signal as it was inherited unless a flag asks for
// more: only so can a test see what leaderrun passes on.
func catchSignals(o options) {
	stops := []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}
	others := []os.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT, unix.SIGALRM}
	received := make(chan os.Signal, 64)
	if o.logSignals != "" {
		signal.Notify(received, others...)
	}
	if o.logSignals != "" || o.ignoreTerm || o.termExit >= 0 {
		signal.Notify(received, stops...)
	}
	go func() {
		for s := range received {
			if o.logSignals != "" {
				logSignal(o, s.(syscall.Signal))
			}
			for _, stop := range stops {
				if s == stop && !o.ignoreTerm && (s != unix.SIGHUP || o.logSignals == "") {
					endBy(o, s.(syscall.Signal))
				}
			}
		}
	}()
}

// logSignal appends "NANOSECONDS PID ROLE TERM".
func logSignal(o options, s syscall.Signal) {
	f, err := os.OpenFile(o.logSignals, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		fail("log signal", err)
	}
	_, err = fmt.Fprintf(f, "%d %d %s %s\n", now(), os.Getpid(), o.role, unix.SignalName(s))
	if err := errors.Join(err, f.Close()); err != nil {
		fail("log signal", err)
	}
}

func endBy(o options, s syscall.Signal) {
	if o.termExit >= 0 {
		time.Sleep(o.after)
		os.Exit(o.termExit)
	}
	dieOf(s)
}

// dieOf kills the process by s with its default action. Go's runtime keeps a
// handler of its own for SIGSEGV and would exit with 2, so the action is set
// behind its back.
func dieOf(s syscall.Signal) {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		fail("no core", err)
	}
	var action [4]uint64 // struct kernel_sigaction of 64-bit Linux; zero is SIG_DFL
	if s != unix.SIGKILL {
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s),
			uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); errno != 0 {
			fail("default action", errno)
		}
	}
	if err := unix.Kill(os.Getpid(), s); err != nil {
		fail("kill itself", err)
	}
	select {} // the signal may take another thread first
}
