//go:build unix

package guard

import "syscall"

// pass passes a signal on to the child that it is meant for: now, later or, where that
// is dead, not at all.
func (s *server) pass(o order) {
	switch {
	case o.Run > s.number:
		s.early = append(s.early, o)
	case o.Run == s.number && s.child != 0:
		s.signal(o.Signal)
	}
}

// signal passes a signal on: to the child alone, but job control to its group,
// as a terminal and a shell do.
func (s *server) signal(sig syscall.Signal) {
	to := s.child
	if s.group != 0 && (sig == syscall.SIGCONT || sig == syscall.SIGTSTP) {
		to = -s.group
	}
	if s.group != 0 && sig == syscall.SIGCONT {
		s.toFront() // where the shell has put the supervisor
	}
	_ = syscall.Kill(to, sig)
}

// toFront gives the child's group the terminal, if the supervisor's has it.
func (s *server) toFront() bool {
	ok := !s.background && handTerminal(s.spec.Group, s.group)
	s.handed = s.handed || ok
	return ok
}

// inFront reports whether a Ctrl-C reaches the child.
func (s *server) inFront() bool {
	front, ok := foreground()
	return ok && (front == s.group || s.group == 0 && front == s.spec.Group)
}

// stopped acts on job control having stopped the child. In the supervisor's
// group it has stopped both.
func (s *server) stopped(sig syscall.Signal) {
	if sig == 0 || sig == syscall.SIGSTOP || s.group == 0 {
		return
	}
	if s.background && sig != syscall.SIGTSTP { // it wants a terminal that it will not get
		return
	}
	_, terminal := foreground()
	switch {
	case !terminal:
	case sig != syscall.SIGTSTP && (s.toFront() || s.inFront()):
		// It used the terminal before it was given to it: at the start, or after
		// `fg`, of which a shell tells no job that runs. What TTIN or TTOU
		// stopped goes on.
		_ = syscall.Kill(-s.group, syscall.SIGCONT)
	default:
		_ = send(s.reports, report{Is: isStopped, Signal: sig})
	}
}
