//go:build unix

package guard

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"leaderrun/lock/bootclock"
)

// run starts the command and returns when nothing of its tree is left.
func (s *server) run(o order) (cause string) {
	s.deadline = o.Deadline
	dead := report{Is: isDead}
	if err := s.start(o.Env); err != nil {
		dead.Cause = causeNoStart
		if errno := syscall.Errno(0); errors.As(err, &errno) {
			dead.Errno = errno
		}
		_ = s.death.disarm()
	} else {
		dead.Cause = s.watch()
		s.kill()
		dead.PID, dead.Status = s.group, uint32(s.status)
		handTerminal(s.group, s.spec.Group)
	}
	_ = send(s.reports, dead)
	return dead.Cause
}

// start forks the child, if the deadline allows it right before; watch looks
// at the clock again right after.
func (s *server) start(env []string) error {
	if err := s.death.set(s.deadline.Add(selfKillSlack)); err != nil {
		return err
	}
	s.timer.Reset(s.deadline)
	group, _ := foreground()
	if bootclock.Now() >= s.deadline {
		return syscall.ETIME
	}
	attr := &syscall.ProcAttr{Env: childEnv(env), Files: []uintptr{0, 1, 2}, Sys: childAttr()}
	pid, err := syscall.ForkExec(s.spec.Path, s.argv, attr)
	if errors.Is(err, syscall.ENOEXEC) { // a script without #!, as execvp(3) runs it
		argv := slices.Concat([]string{"/bin/sh", s.spec.Path}, s.argv[1:])
		pid, err = syscall.ForkExec("/bin/sh", argv, attr)
	}
	if err != nil {
		return err
	}
	s.child, s.group = pid, pid
	if group == s.spec.Group {
		handTerminal(s.spec.Group, s.group)
	}
	p, _ := readProcess(pid)
	_ = send(s.reports, report{Is: isStarted, PID: pid, Start: p.start})
	for _, sig := range s.early {
		s.signal(sig)
	}
	return nil
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
// descendant: an orphan becomes our child before its parent can be reaped.
func (s *server) kill() {
	told := false
	for pass := 0; ; pass++ {
		if s.child != 0 {
			_ = syscall.Kill(-s.group, syscall.SIGKILL) // before its leader is reaped the group cannot be another's
		}
		if s.reap() {
			_ = s.death.disarm()
			return
		}
		_, denied, _ := killBelow(nil)
		if pass == 0 {
			_ = s.death.disarm() // all were killed once; from here on this loop is worth more alive
		}
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

// signal passes a signal on: to the child alone, but job control to its group,
// as a terminal and a shell do.
func (s *server) signal(sig syscall.Signal) {
	to := s.child
	switch sig {
	case syscall.SIGCONT:
		handTerminal(s.spec.Group, s.group) // brought to the foreground by the shell
		to = -s.group
	case syscall.SIGTSTP:
		to = -s.group
	}
	_ = syscall.Kill(to, sig)
}

// stopped tells the supervisor that job control stopped the child.
func (s *server) stopped(sig syscall.Signal) {
	if sig == 0 || sig == syscall.SIGSTOP {
		return
	}
	group, ok := foreground()
	switch {
	case !ok: // no terminal, no job control
	case group == s.group && sig != syscall.SIGTSTP:
		// It used the terminal before handTerminal had put it into the
		// foreground: TTIN or TTOU came in that moment.
		_ = syscall.Kill(-s.group, syscall.SIGCONT)
	default:
		_ = send(s.reports, report{Is: isStopped, Signal: sig})
	}
}
