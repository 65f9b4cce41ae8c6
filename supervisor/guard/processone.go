//go:build unix

package guard

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// What supervisor.Init, process 1 of a container, needs of this package.

// StartBelow starts this program again with these arguments, as selfExe says,
// in a process group of its own. All else it has as this process was given it.
func StartBelow(argv []string) (pid int, err error) {
	return syscall.ForkExec(selfExe(), argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
}

// NameStarted names a process that was started as selfExe, of which ps would
// show the last part.
func NameStarted(name string) {
	if comm, err := os.ReadFile("/proc/self/comm"); err == nil && string(comm) == "exe\n" {
		nameProcess(name)
	}
}

// LendTerminal puts a child's process group into the terminal's foreground if
// this process's group has it and is its own. A group that is led from outside
// of this PID namespace is 0 here, like every other such group: whether ours
// is the one in front cannot be known.
func LendTerminal(group int) bool {
	own := syscall.Getpgrp()
	return own == os.Getpid() && handTerminal(own, group)
}

// TakeTerminal takes back what LendTerminal gave.
func TakeTerminal(group int) { returnTerminal(group, syscall.Getpgrp()) }

// Helpers reports whether processes that leaderrun started itself with, such as
// a guard whose supervisor was killed, are children of this process. Such a one
// is this program, called with a word that is not a flag, in an environment
// that is not of a tenure deeper than ours: a leaderrun that a command runs is
// no helper, nor are its own.
func Helpers() (bool, error) {
	self, err := os.Stat(selfExe())
	if err != nil {
		return false, err
	}
	within := os.Getenv(MarkVariable)
	children, err := below(os.Getpid())
	for _, p := range children {
		if isHelper(p.pid, self, within) {
			return true, nil
		}
	}
	return false, err
}

func isHelper(pid int, self os.FileInfo, within string) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	exe, err := os.Stat(dir + "/exe")
	if err != nil || !os.SameFile(exe, self) {
		return false
	}
	cmdline, err := os.ReadFile(dir + "/cmdline")
	args := strings.Split(string(cmdline), "\x00")
	if err != nil || len(args) < 2 || args[1] == "" || args[1][0] == '-' {
		return false
	}
	for kv := range bytes.SplitSeq(environ(pid), []byte{0}) {
		if marks, ok := strings.CutPrefix(string(kv), MarkVariable+"="); ok {
			return marks == within
		}
	}
	return within == ""
}
