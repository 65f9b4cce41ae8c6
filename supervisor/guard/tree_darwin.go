package guard

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock/bootclock"
)

// What macOS lacks is named in the package comment. This file is compiled and
// vetted, and has not been run.

func selfExe() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

func becomeSubreaper() error { return nil }

func nameProcess(string) {}

func hurry() {}

func unhurried(f func()) { f() }

func emptyPipe(int, int) bool { return true }

// Supported returns an error if this host lacks what the guard stands on.
func Supported() error { return nil }

func guardAttr(*int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// deathTimer stands in for the kernel's timer, which macOS does not have: it
// ends a guard that hangs, but not one that is stopped.
type deathTimer struct{ t bootclock.Timer }

func newDeathTimer() (*deathTimer, error) {
	t, err := bootclock.System.NewTimer()
	if err != nil {
		return nil, err
	}
	go func() {
		for range t.C() {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}()
	return &deathTimer{t}, nil
}

func (d *deathTimer) set(i bootclock.Instant) error { d.t.Reset(i); return nil }

func (d *deathTimer) disarm() error { return d.set(bootclock.Now().Add(100 * 365 * 24 * time.Hour)) }

func asProcess(k *unix.KinfoProc) process {
	p := process{
		pid: int(k.Proc.P_pid), parent: int(k.Eproc.Ppid), group: int(k.Eproc.Pgid),
		start: uint64(k.Proc.P_starttime.Nano() / 1000),
	}
	if k.Proc.P_stat == 5 { // SZOMB
		p.state = 'Z'
	}
	return p
}

func readProcess(pid int) (process, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return process{}, err
	}
	return asProcess(k), nil
}

func processes() (map[int]process, error) {
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, err
	}
	all := make(map[int]process, len(table))
	for i := range table {
		p := asProcess(&table[i])
		all[p.pid] = p
	}
	return all, nil
}

func below(parent int) ([]process, error) {
	all, err := processes()
	var found []process
	for _, p := range all {
		if p.parent == parent && p.pid != parent {
			found = append(found, p)
		}
	}
	return found, err
}

func killChildren() {}

// killDeep kills a process that is not our child; macOS has no pidfd.
func killDeep(p process) error { return syscall.Kill(p.pid, syscall.SIGKILL) }

// waitable returns a child that is a zombie, without reaping it.
func waitable() (pid int) {
	found, err := descendants(os.Getpid(), nil)
	if err != nil {
		return 0
	}
	for _, p := range found {
		if p.parent == os.Getpid() && p.state == 'Z' {
			return p.pid
		}
	}
	return 0
}

// stopSignal returns what stopped the child since the last call, or 0.
func stopSignal(pid int) syscall.Signal {
	if pid == 0 || waitable() == pid {
		return 0
	}
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
	if err != nil || got != pid || !status.Stopped() {
		return 0
	}
	return status.StopSignal()
}

// Ignored reports whether a signal was ignored when this program started.
func Ignored(sig syscall.Signal) bool { return signal.Ignored(sig) }
