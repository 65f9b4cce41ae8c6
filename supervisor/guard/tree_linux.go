package guard

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// selfExe starts this program again, also when its file was replaced or
// deleted: the link leads to the image that runs, not to a name.
func selfExe() string { return "/proc/self/exe" }

// becomeSubreaper makes orphans below this process its children
// (prctl(2), PR_SET_CHILD_SUBREAPER).
func becomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	return nil
}

// childAttr are the child's: a group of its own, and death with its parent.
// The parent-death signal comes when the *thread* that forked ends (prctl(2)),
// so only a goroutine locked to a thread that lives on may use it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// readProcess reads /proc/PID/stat. The command name may hold anything, so
// fields are counted from the last parenthesis.
func readProcess(pid int) (process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	i := bytes.LastIndexByte(b, ')')
	f := bytes.Fields(b[i+1:])
	if i < 0 || len(f) < 20 {
		return process{}, fmt.Errorf("read /proc/%d/stat: unknown form", pid)
	}
	p := process{pid: pid, state: f[0][0]}
	p.parent, _ = strconv.Atoi(string(f[1]))
	p.group, _ = strconv.Atoi(string(f[2]))
	p.start, err = strconv.ParseUint(string(f[19]), 10, 64)
	return p, err
}

// processes reads the process table, which is not a snapshot: who forks
// meanwhile may be missed, so whoever kills looks again until nothing is left.
func processes() (map[int]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}
	all := make(map[int]process, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, err := readProcess(pid); err == nil {
				all[pid] = p
			}
		}
	}
	return all, nil
}

// killDeep kills a process that is not our child, so that its pid may be
// another's at any moment: the pidfd is opened first, and only then is the
// process looked at again.
func killDeep(p process) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return err // gone, or a kernel before 5.3: it becomes our child when its parents are dead
	}
	defer func() { _ = unix.Close(fd) }()
	now, err := readProcess(p.pid)
	if err != nil || now.start != p.start {
		return err
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}

// waitable returns a child that can be reaped, without reaping it; 0 when
// there is none. Until it is reaped, its pid and its group are still its own.
func waitable() (pid int) {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	if err != nil || info.Signo == 0 {
		return 0
	}
	pid, _ = siginfo(&info)
	return pid
}

// stopSignal returns what stopped the child since the last call, or 0.
func stopSignal(pid int) syscall.Signal {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG, nil)
	if err != nil || info.Signo == 0 {
		return 0
	}
	_, status := siginfo(&info)
	return syscall.Signal(status)
}

// siginfo returns si_pid and si_status, which x/sys does not name: after three
// integers and padding to a pointer come pid, uid and status (sigaction(2)).
func siginfo(info *unix.Siginfo) (pid, status int) {
	const word = unsafe.Sizeof(uintptr(0))
	const offset = (12 + word - 1) / word * word
	child := (*[3]int32)(unsafe.Add(unsafe.Pointer(info), offset))
	return int(child[0]), int(child[2])
}

// ignoredAtEntry is the set of signals that were ignored when this program
// started, of those whose being ignored Go's runtime leaves in place: HUP, INT
// and what it does not handle by itself, such as TSTP. It loses the rest, such
// as QUIT, PIPE and USR1 (os/signal).
var ignoredAtEntry = sync.OnceValue(func() (mask uint64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("\nSigIgn:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, _ = strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 64)
	return mask
})

// Ignored reports whether a signal was ignored when this program started, and
// so stays ignored for it and the child. First called before any
// signal.Notify, which changes what the kernel says.
func Ignored(sig syscall.Signal) bool { return ignoredAtEntry()>>(uint(sig)-1)&1 == 1 }
