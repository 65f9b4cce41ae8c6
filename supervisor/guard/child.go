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

// run starts a command and returns when nothing of its tree is left.
func (s *server) run(o order) (cause string) {
	s.deadline, s.number = o.Deadline, o.Run
	s.background, s.group, s.handed, s.status = len(o.Shell) > 0, 0, false, 0
	var dead report
	if err := s.start(o); err != nil {
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
func (s *server) start(o order) error {
	if err := s.death.set(s.deadline.Add(selfKillSlack)); err != nil {
		return err
	}
	s.timer.Reset(s.deadline)
	if !s.cgroup.renew() {
		s.cgroup = nil
	}
	front, terminal := foreground()
	shared := !s.background && terminal && !alone(os.Getppid(), s.spec.Group)
	var pid int
	var err error
	if s.background {
		pid, err = s.forkShell(o, s.fork)
	} else {
		pid, err = s.forkCommand(o.Env, shared)
	}
	if err != nil {
		return err
	}
	go hurry() // not before there is somebody to be quick for
	s.child = pid
	if !shared {
		s.group = pid
		s.handed = front == s.spec.Group && s.toFront()
	}
	p, _ := readProcess(pid)
	_ = send(s.reports, report{Is: isStarted, PID: pid, Start: p.start, Shared: shared})
	early := s.early
	s.early = nil
	for _, o := range early {
		s.pass(o)
	}
	return nil
}

// forkCommand starts the Spec's command, in the supervisor's group or in its own.
func (s *server) forkCommand(env []string, shared bool) (pid int, err error) {
	attr := &syscall.ProcAttr{Env: childEnv(env), Files: []uintptr{0, 1, 2}, Sys: childAttr()}
	if shared {
		attr.Sys.Pgid = s.spec.Group
	}
	path := string(s.spec.Path)
	pid, err = s.fork(path, s.argv, attr)
	if errors.Is(err, syscall.ENOEXEC) { // a script without #!, as execvp(3) runs it
		pid, err = s.fork(shell, slices.Concat([]string{shell, path}, s.argv[1:]), attr)
	}
	return pid, err
}

// fork starts a command's program in the tree's cgroup or, where that is refused, outside.
// Whether the fork or the exec failed cannot be told apart; what cannot be
// executed fails twice.
func (s *server) fork(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	for range 2 {
		inside := s.cgroup.enter(attr.Sys)
		pid, err = forkExec(path, argv, attr, s.inTime)
		if err == nil && inside && bornDead(pid) {
			_, err = syscall.Wait4(pid, nil, 0, nil)
			err = errors.Join(err, syscall.EAGAIN)
		}
		if err == nil || !inside || errors.Is(err, syscall.ENOEXEC) || errors.Is(err, syscall.ETIME) {
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
				s.pass(o)
			case doHold:
				s.hold = true
			case doCheck:
				s.check(o)
			case doEndCheck:
				s.endCheck(o.Check)
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

// lookAtChildren reaps checks and adopted orphans, but leaves the child to be reaped
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
		s.reapOne(pid)
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
		s.endChecks()
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
		default:
			delete(s.checks, pid)
		}
	}
}
