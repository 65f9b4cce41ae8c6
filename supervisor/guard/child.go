//go:build unix

package guard

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"leaderrun/lock/bootclock"
)

// run starts the command and returns when nothing of its tree is left.
func (s *server) run(o order) (cause string) {
	s.deadline, s.started = o.Deadline, true
	var dead report
	if err := s.start(o.Env); err != nil {
		dead.Cause, dead.Errno = causeNoStart, errnoOf(err)
		_ = s.death.disarm()
	} else {
		dead.Cause = s.watch()
		dead.Front = s.inFront()
		s.kill()
		dead.Status = uint32(s.status)
		if s.handed {
			returnTerminal(s.group, s.spec.Group)
		}
	}
	s.tellDead(dead)
	return dead.Cause
}

// tellDead is worth waiting for a supervisor that does not read: there is no
// child any more, and without this report it would take the guard for frozen.
func (s *server) tellDead(r report) {
	r.Is = isDead
	for errors.Is(send(s.reports, r), syscall.EAGAIN) {
		select {
		case <-s.gone:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func errnoOf(err error) syscall.Errno {
	errno := syscall.Errno(0)
	_ = errors.As(err, &errno)
	return errno
}

// start forks the child, if the deadline allows it right before; watch looks
// at the clock again right after.
func (s *server) start(env []string) error {
	if err := s.death.set(s.deadline.Add(selfKillSlack)); err != nil {
		return err
	}
	s.timer.Reset(s.deadline)
	attr := &syscall.ProcAttr{Env: childEnv(env), Files: []uintptr{0, 1, 2}, Sys: childAttr()}
	front, terminal := foreground()
	shared := terminal && !alone(os.Getppid(), s.spec.Group)
	if shared {
		attr.Sys.Pgid = s.spec.Group
	}
	path := string(s.spec.Path)
	pid, err := s.fork(path, s.argv, attr)
	if errors.Is(err, syscall.ENOEXEC) { // a script without #!, as execvp(3) runs it
		argv := slices.Concat([]string{"/bin/sh", path}, s.argv[1:])
		pid, err = s.fork("/bin/sh", argv, attr)
	}
	if err != nil {
		return err
	}
	go hurry() // not before: the child is to run as leaderrun was told to
	s.child = pid
	if !shared {
		s.group = pid
		s.handed = front == s.spec.Group && handTerminal(front, s.group)
	}
	p, _ := readProcess(pid)
	_ = send(s.reports, report{Is: isStarted, PID: pid, Start: p.start, Shared: shared})
	for _, sig := range s.early {
		s.signal(sig)
	}
	return nil
}

// fork starts a program in the tree's cgroup or, where that is refused, outside.
// Whether the fork or the exec failed cannot be told apart; what cannot be
// executed fails twice.
func (s *server) fork(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	for range 2 {
		if bootclock.Now() >= s.deadline {
			return 0, syscall.ETIME
		}
		inside := s.cgroup.enter(attr.Sys)
		pid, err = syscall.ForkExec(path, argv, attr)
		if err == nil || !inside || errors.Is(err, syscall.ENOEXEC) {
			break
		}
		s.cgroup = nil
	}
	return pid, err
}

// watch returns why the tree has to die.
func (s *server) watch() (cause string) {
	for {
		if bootclock.Now() >= s.deadline {
			return causeDeadline
		}
		if cause := s.lookAtChildren(); cause != "" {
			return cause
		}
		select {
		case o := <-s.orders:
			if bootclock.Now() >= s.deadline {
				return causeDeadline // too late to be told otherwise
			}
			switch o.Do {
			case doDeadline:
				s.extend(o.Deadline)
			case doSignal:
				s.signal(o.Signal)
			case doKill:
				return causeOrder
			}
		case <-s.gone:
			return causeOrphaned
		case <-s.timer.C():
		case <-s.sigchld:
		}
	}
}

func (s *server) extend(deadline bootclock.Instant) {
	if deadline <= s.deadline {
		return
	}
	s.deadline = deadline
	s.timer.Reset(deadline)
	if s.death.set(deadline.Add(selfKillSlack)) != nil {
		s.deadline = 0 // without the kernel's timer there is no safe deadline
	}
}

// lookAtChildren reaps adopted orphans, but leaves the child to be reaped
// after its group was killed.
func (s *server) lookAtChildren() (cause string) {
	for {
		pid := waitable()
		switch pid {
		case 0:
			s.stopped(stopSignal(s.child))
			return ""
		case s.child:
			return causeExit
		}
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}

// kill ends the tree and returns when no child is left. No child means no
// descendant: an orphan becomes our child before its parent can be reaped. With
// a cgroup one pass kills all, but for what root moved out of it.
func (s *server) kill() {
	told := false
	for pass := 0; ; pass++ {
		if s.child != 0 {
			_ = syscall.Kill(s.child, syscall.SIGKILL)
			if s.group != 0 {
				_ = syscall.Kill(-s.group, syscall.SIGKILL) // before its leader is reaped the group cannot be another's
			}
		}
		s.cgroup.end()
		// Only now may the deadline's timer go: from here on it ends a guard that
		// is stopped while it kills, and the supervisor ends what is left.
		_ = s.death.set(bootclock.Now().Add(killWatchdog))
		if s.reap() {
			_ = s.death.disarm()
			return
		}
		for range 20 {
			killChildren()
		}
		_, denied, _ := killBelow(nil, 0)
		if denied != nil && !told {
			told = send(s.reports, report{Is: isUnkillable, PID: denied.pid, Errno: syscall.EPERM}) == nil
		}
		select {
		case <-s.sigchld:
		case <-time.After(min(time.Duration(pass+1)*time.Millisecond, 20*time.Millisecond)):
		}
	}
}

// reap takes every dead child and reports whether none is left.
func (s *server) reap() (none bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return true
		case errors.Is(err, syscall.EINTR):
			continue
		case pid <= 0:
			return false
		case pid == s.child:
			s.child, s.status = 0, status
		}
	}
}
