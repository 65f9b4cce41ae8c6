package guard

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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

// nameProcess sets what ps and top show; the kernel's own choice would be the
// last part of selfExe.
func nameProcess(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

// emptyPipe reports whether a pipe holds nothing and has room for n bytes; it may have
// less than usual (pipe(7), /proc/sys/fs/pipe-user-pages-soft).
func emptyPipe(fd, n int) bool {
	unread, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil || unread > 0 {
		return false
	}
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	return err == nil && size >= n
}

// Supported returns an error if this host lacks what the guard stands on.
func Supported() error {
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return fmt.Errorf("no /proc: mount it, the process tree is found there: %w", err)
	}
	if self != strconv.Itoa(os.Getpid()) {
		return errors.New("/proc is that of another PID namespace: mount one of this namespace (unshare --mount-proc)")
	}
	return nil
}

// guardAttr are a guard's: a group of its own, and a descriptor that names it.
func guardAttr(pidfd *int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, PidFD: pidfd}
}

// childAttr are the child's: a group of its own, and death with its parent.
// The parent-death signal comes when the *thread* that forked ends (prctl(2)),
// so only a goroutine locked to a thread that lives on may use it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func readProcess(pid int) (process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	return parseStat(pid, b)
}

// parseStat parses /proc/PID/stat. The command name may hold anything, so
// fields are counted from the last parenthesis.
func parseStat(pid int, b []byte) (p process, err error) {
	i := bytes.LastIndexByte(b, ')')
	f := bytes.Fields(b[i+1:])
	if i < 0 || len(f) < 20 {
		return process{}, fmt.Errorf("read /proc/%d/stat: unknown form", pid)
	}
	p = process{pid: pid, state: f[0][0]}
	p.parent, _ = strconv.Atoi(string(f[1]))
	p.group, _ = strconv.Atoi(string(f[2]))
	p.flags, _ = strconv.ParseUint(string(f[6]), 10, 64)
	p.start, err = strconv.ParseUint(string(f[19]), 10, 64)
	return p, err
}

// processes reads the process table, which is not a snapshot: who forks
// meanwhile may be missed, so whoever kills looks again until nothing is left.
// What hidepid (proc(5)) hides is missing.
func processes() (map[int]process, error) {
	names, err := list("/proc")
	if err != nil {
		return nil, err
	}
	all := make(map[int]process, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		p, err := readProcess(pid)
		if err == nil {
			all[pid] = p
		} else if !isGone(err) {
			return nil, err // to miss one for lack of descriptors is to take it for dead
		}
	}
	return all, nil
}

func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, fs.ErrPermission)
}

func list(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	return names, errors.Join(err, dir.Close())
}

// childrenOf lists the children of a process from /proc/PID/task/TID/children:
// that costs what the tree is large and not what the host is full, and shows
// our own children even where hidepid hides them. It may miss one while others
// end. A kernel without CONFIG_PROC_CHILDREN has no such files.
func childrenOf(pid int) (children []int, err error) {
	tasks := "/proc/" + strconv.Itoa(pid) + "/task/"
	threads, err := list(tasks)
	if err != nil {
		return nil, err
	}
	for _, tid := range threads {
		b, err := os.ReadFile(tasks + tid + "/children")
		if err != nil && !isGone(err) {
			return nil, err
		}
		for _, f := range bytes.Fields(b) {
			if child, err := strconv.Atoi(string(f)); err == nil {
				children = append(children, child)
			}
		}
	}
	return children, nil
}

// hasChildrenFiles is false on a kernel without CONFIG_PROC_CHILDREN.
var hasChildrenFiles = sync.OnceValue(func() bool {
	_, err := os.Stat("/proc/thread-self/children")
	return err == nil
})

// below returns the children of a process. One whose entry cannot be read has
// no start time.
func below(parent int) ([]process, error) {
	if !hasChildrenFiles() {
		return belowByScan(parent)
	}
	pids, err := childrenOf(parent)
	if isGone(err) {
		return nil, nil
	}
	var found []process
	for _, pid := range pids {
		p, err := readProcess(pid)
		if err != nil && !isGone(err) {
			return nil, err
		}
		if err != nil {
			p = process{pid: pid, parent: parent}
		}
		if p.parent == parent { // else it ended, and its pid is another's
			found = append(found, p)
		}
	}
	return found, err
}

func belowByScan(parent int) ([]process, error) {
	all, err := processes()
	var found []process
	for _, p := range all {
		if p.parent == parent {
			found = append(found, p)
		}
	}
	return found, err
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
