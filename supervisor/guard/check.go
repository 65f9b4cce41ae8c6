//go:build unix

package guard

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// The supervisor's side of a check.

// current is what runs now.
type current struct {
	sync.Mutex
	numbered int              // runs so far
	run      int              // number of the one that Run.Run runs, or 0
	check    int              // number of the latest
	ended    func(status int) // whom to tell of its end; nil when nobody waits
}

// Check runs a shell's text beside the command that runs now, of which started was
// told, in a process group of its own and with /dev/null as standard input. Ended is told
// its exit status, 128+N if signal N killed it and 126 if there was no shell to be had,
// from the goroutine that called Run.Run: it must neither block nor call Check or
// EndCheck. It is not told if EndCheck or the end of the command's tree came first, and
// perhaps not if this process or the guard is very slow: the caller has a time-out.
//
// Check does not block. One runs at a time: a second call ends the first, as EndCheck does.
// What a check left in its group dies with it, what left the group with the tree.
func (g *Guard) Check(c Command, ended func(status int)) {
	g.now.Lock()
	defer g.now.Unlock()
	g.now.check++
	g.now.ended = ended
	o := order{Do: doCheck, Run: g.now.run, Check: g.now.check, Shell: []byte(c.Shell), Env: c.Env}
	if g.now.run != 0 && errors.Is(send(g.control, o), syscall.EAGAIN) {
		go g.checkLater(o)
	}
}

// checkLater sends the order once the guard has read what was sent before.
func (g *Guard) checkLater(o order) {
	for wait := true; wait; {
		<-time.After(2 * time.Millisecond)
		g.now.Lock()
		wait = g.now.run == o.Run && g.now.check == o.Check && g.now.ended != nil && errors.Is(send(g.control, o), syscall.EAGAIN)
		g.now.Unlock()
	}
}

// EndCheck kills the check's process group, if a check runs. When it has returned, nobody
// is told of that check's end any more. It does not block.
func (g *Guard) EndCheck() {
	g.now.Lock()
	defer g.now.Unlock()
	if g.now.ended != nil {
		g.now.ended = nil
		_ = send(g.control, order{Do: doEndCheck, Check: g.now.check})
	}
}

// begin notes which command runs; with it ends the check of the one before.
func (g *Guard) begin(run int) {
	g.now.Lock()
	defer g.now.Unlock()
	g.now.run, g.now.ended = run, nil
}

// checked passes a check's end on, unless that is not the one that is waited for.
func (g *Guard) checked(number int, status syscall.WaitStatus) {
	g.now.Lock()
	defer g.now.Unlock()
	if ended := g.now.ended; ended != nil && number == g.now.check {
		g.now.ended = nil
		ended(Result{Status: status}.ExitCode())
	}
}

// The guard's side.

// cannotCheck is the wait status of exit code 126.
const cannotCheck = 126 << 8

// check starts a check beside the command that runs, if it is meant for that.
func (s *server) check(o order) {
	if o.Run != s.number {
		return
	}
	s.endChecks()
	pid, err := s.forkShell(o, s.forkOnce)
	if err != nil {
		_ = send(s.reports, report{Is: isChecked, Check: o.Check, Status: cannotCheck})
		return
	}
	s.checks[pid] = o.Check
}

// endCheck ends the check of this number.
func (s *server) endCheck(number int) {
	for pid, check := range s.checks {
		if check == number {
			_ = syscall.Kill(-pid, syscall.SIGKILL) // not reaped: the group is no other's
		}
	}
}

// endChecks ends all that are not reaped.
func (s *server) endChecks() {
	for pid := range s.checks {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// reapOne takes a dead child that is not the command's.
func (s *server) reapOne(pid int) {
	var status syscall.WaitStatus
	number, isCheck := s.checks[pid]
	if isCheck {
		s.endCheck(number) // what is left of its group, before that can be another's
		delete(s.checks, pid)
	}
	_, _ = syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	if isCheck {
		_ = send(s.reports, report{Is: isChecked, Check: number, Status: uint32(status)})
	}
}

// forkShell starts a shell's text by one of the two forks, in a group of its own.
func (s *server) forkShell(o order, fork func(string, []string, *syscall.ProcAttr) (int, error)) (pid int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }()
	attr := &syscall.ProcAttr{Env: childEnv(o.Env), Files: []uintptr{null.Fd(), 1, 2}, Sys: childAttr()}
	return fork(shell, []string{shell, "-c", string(o.Shell)}, attr)
}

const shell = "/bin/sh"
