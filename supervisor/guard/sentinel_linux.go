package guard

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A sentinel is a third process, as good as nothing, that waits for the guard's
// death and then ends what is left in the tree's cgroup: when supervisor and
// guard are killed in one call, or the guard by its own timer while the
// supervisor is frozen too, nobody else is there to do it. Without a cgroup it
// could do nothing, and there is none.
type sentinel struct{ pidfd int }

// watched is the descriptor at which a sentinel finds its guard's.
const watched = 3

// startSentinel starts one for the guard with this pidfd. Without it the promise
// holds but for those two cases.
func startSentinel(guard int, group *cgroup) *sentinel {
	if group == nil || guard < 0 {
		return nil
	}
	family.Lock() // until it is known there, it would be taken for a stranger
	defer family.Unlock()
	s := &sentinel{pidfd: -1}
	pid, err := syscall.ForkExec(selfExe(), []string{"leaderrun", SentinelCommand, group.path}, &syscall.ProcAttr{
		Env: os.Environ(),
		// Its standard ones, too: Go's runtime opens /dev/null in the place of what is
		// closed, and ends a process that finds none.
		Files: []uintptr{uintptr(guard), uintptr(guard), uintptr(guard), watched: uintptr(guard)},
		// A session of its own: no terminal's signal reaches it.
		Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &s.pidfd},
	})
	if err != nil {
		return nil
	}
	family.sentinels[pid] = true
	return s
}

// kill ends a sentinel that has nothing left to watch. Who reaps strangers reaps
// it, too: the pidfd names it for good.
func (s *sentinel) kill() {
	if s != nil && s.pidfd >= 0 {
		_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
	}
}

// wait returns when it is dead.
func (s *sentinel) wait() {
	if s == nil {
		return
	}
	waitForDeath(s.pidfd, time.Second)
	_ = unix.Close(s.pidfd)
	s.pidfd = -1 // the number may be another's
}

// waitForDeath waits for that of a pidfd's process; a negative limit is none.
func waitForDeath(pidfd int, limit time.Duration) {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for err := error(unix.EINTR); errors.Is(err, unix.EINTR); {
		_, err = unix.Poll(fds, int(limit.Milliseconds()))
	}
}

// Watch is the sentinel process; it returns the process's exit status.
func Watch(path string) int {
	closeInherited()
	absorbSignals()
	nameProcess("leaderrun-sentinel")
	hurry()
	group := joinCgroup(path)
	if group == nil {
		return 70
	}
	waitForDeath(watched, -time.Second)
	for pass := 1; ; pass++ {
		group.kill()
		if !group.populated() {
			break
		}
		<-time.After(min(time.Duration(pass)*time.Millisecond, 20*time.Millisecond))
	}
	group.remove()
	return 0
}

// closeInherited lets go of the descriptors that are the user's, so that nobody
// waits for the end of a pipe, or for a lock, that only the sentinel holds open.
func closeInherited() {
	open, _ := list("/proc/self/fd")
	for _, name := range open {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= watched {
			continue
		}
		// What Go's runtime opened is close-on-exec, and it still needs that.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}
