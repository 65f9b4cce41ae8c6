//go:build unix

package guard

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock/bootclock"
)

const (
	// selfKillSlack is how long after the deadline the kernel ends a guard
	// that has not begun to kill. It must stay well under the least margin of
	// a deadline, 250 ms.
	selfKillSlack = 100 * time.Millisecond
	// killWatchdog bounds one pass of a guard that kills, far above what a pass
	// takes.
	killWatchdog = 3 * time.Second
	// giveBackAfter is how long a guard whose tree is dead waits for the
	// supervisor to release the lock, before it does that itself.
	giveBackAfter = time.Second
)

// guardName is what ps shows: as long as the kernel allows.
const guardName = "leaderrun-guard"

// server is the guard process.
//
// It never writes to descriptors 0 to 2 and blocks on nothing while the child
// lives, so that nothing stands between a deadline and a kill.
type server struct {
	argv    []string
	spec    wireSpec
	reports *os.File
	held    *os.File // the lock's descriptor, kept open, or nil
	cgroup  *cgroup  // the tree's

	orders  chan order
	gone    chan struct{} // closed at the end of the pipe: no supervisor
	sigchld chan os.Signal
	death   *deathTimer
	timer   bootclock.Timer

	hold  bool    // more commands follow
	early []order // signals that came before their child was there

	// Of the latest command:
	number     int // from 1
	deadline   bootclock.Instant
	background bool        // a shell's text
	child      int         // pid; 0 before the start and when it is reaped
	group      int         // the child's process group, if it is its own
	handed     bool        // the terminal's foreground was given to that group
	checks     map[int]int // numbers of those that are not reaped, by pid, which is their process group
	status     syscall.WaitStatus
}

// Serve is the guard process: it obeys the orders that come through the
// descriptor control and returns the process's exit status. held is the
// descriptor of the lock, or -1; cgroup the tree's directory, or "".
func Serve(control, reports, held int, cgroup string, argv []string) int {
	// The parent-death signal belongs to the thread that forks; it must live
	// as long as the child.
	runtime.LockOSThread()
	s := &server{
		argv:   argv,
		orders: make(chan order, 16), gone: make(chan struct{}), sigchld: make(chan os.Signal, 1),
		checks:  make(map[int]int),
		reports: adopt(reports, "reports"), cgroup: joinCgroup(cgroup),
	}
	if held >= 0 {
		s.held = adopt(held, "lock")
	}
	absorbSignals()
	signal.Notify(s.sigchld, syscall.SIGCHLD)
	err := becomeSubreaper()
	if err == nil {
		s.death, err = newDeathTimer()
	}
	if err == nil {
		s.timer, err = bootclock.System.NewTimer()
	}
	if err != nil {
		s.tellDead(report{Cause: causeNoStart, Errno: errnoOf(err)})
		return 70
	}
	nameProcess(guardName)
	_ = send(s.reports, report{Is: isReady})
	go func() {
		_ = receive(adopt(control, "control"), func(o order) { s.orders <- o })
		close(s.gone)
	}()
	s.idle()
	return 0
}

// adopt takes over a descriptor from the supervisor; the child does not get it.
func adopt(fd int, name string) *os.File {
	unix.CloseOnExec(fd)
	if name != "lock" {
		_ = unix.SetNonblock(fd, true) // a pipe of our own: nobody shares this end
	}
	return os.NewFile(uintptr(fd), name)
}

// absorbSignals takes, without acting on them, the signals that terminals and
// systemd send to every process at once: the supervisor decides. They are
// caught and not ignored, because exec resets only what is caught.
func absorbSignals() {
	sink := make(chan os.Signal, 1)
	for _, sig := range []syscall.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT,
		syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
	} {
		if !Ignored(sig) {
			signal.Notify(sink, sig)
		}
	}
}

// idle waits for the order to start, and after the tree is dead for the next, or
// for the supervisor to release and end this process. Whoever is left alone gives
// the ticket back.
func (s *server) idle() {
	var late <-chan time.Time
	cause, over := "", false
	for {
		select {
		case o := <-s.orders:
			switch {
			case o.Do == doPrepare && o.Spec != nil:
				s.spec = *o.Spec
			case o.Do == doHold:
				s.hold = true
			case o.Do == doPing && !over:
				_ = send(s.reports, report{Is: isThere})
			case o.Do == doSignal:
				s.pass(o)
			case o.Do == doStart && over:
				s.tellDead(report{Cause: causeNoStart, Errno: syscall.ETIME})
			case o.Do == doStart && o.Run > s.number:
				if cause = s.run(o); cause == causeOrphaned {
					s.giveBack()
					return
				}
				late = time.After(giveBackAfter)
			}
		case <-s.gone:
			s.giveBack()
			return
		case <-late:
			late = nil
			if over = !s.hold || cause == causeDeadline; over {
				s.giveBack()
			}
		}
	}
}

// giveBack runs leaderrun's release command with the ticket.
func (s *server) giveBack() {
	if len(s.spec.Ticket) == 0 {
		return
	}
	defer func() { s.spec.Ticket = nil }()
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	_, err = w.Write(s.spec.Ticket) // an empty pipe holds it
	if err = errors.Join(err, w.Close()); err != nil {
		return
	}
	args, files := []string{"leaderrun", ReleaseCommand}, inherited()
	if s.held != nil {
		files = inherited(s.held)
		args = append(args, itoa(s.held.Fd()))
	}
	files[0] = r.Fd()
	pid, err := forkExec(selfExe(), args, &syscall.ProcAttr{Env: os.Environ(), Files: files}, always)
	_ = r.Close()
	if err != nil {
		return
	}
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		_, err = syscall.Wait4(pid, nil, 0, nil)
	}
}

// childEnv is the inherited environment with the additions in place of
// variables of the same name, and without what is meant for leaderrun itself:
// leaderrun speaks to systemd for the unit (sd_notify(3)).
func childEnv(additions []string) []string {
	own := []string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
	for _, kv := range additions {
		name, _, _ := strings.Cut(kv, "=")
		own = append(own, name)
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(own, name)
	})
	return append(env, additions...)
}
