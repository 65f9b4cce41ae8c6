//go:build unix

package guard

import (
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
)

// family is what this process must know of its children to kill none that is
// not of the tenure in question.
var family struct {
	sync.Mutex
	ready  bool
	atExec map[int]uint64 // children that were there before the first guard, with start times
	guards map[int]bool   // that are not reaped
	// sentinels likewise. They are of no tree, and reaped with the strangers.
	sentinels map[int]bool
}

// launch starts the guard process: this program again, in a process group of
// its own, with the pipes and the lock's descriptor at free numbers; and, where
// the tree gets a cgroup, the sentinel beside it.
func launch(s Spec) (*Guard, error) {
	exe := selfExe()
	controlR, controlW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = controlR.Close() }()
	reportsR, reportsW, err := os.Pipe()
	if err != nil {
		_ = controlW.Close()
		return nil, err
	}
	defer func() { _ = reportsW.Close() }()

	held := "-1"
	ours := []*os.File{controlR, reportsW}
	if s.Held != nil {
		held = itoa(s.Held.Fd())
		ours = append(ours, s.Held)
	}
	group := makeCgroup()
	argv := append([]string{"leaderrun", GuardCommand, itoa(controlR.Fd()), itoa(reportsW.Fd()), held, group.name(), "--"}, s.Argv...)

	family.Lock()
	defer family.Unlock()
	if err = prepareFamily(); err == nil {
		var pid int
		pidfd := -1
		pid, err = syscall.ForkExec(exe, argv, &syscall.ProcAttr{
			Env: os.Environ(), Files: inherited(ours...), Sys: guardAttr(&pidfd),
		})
		if err == nil {
			family.guards[pid] = true
			g := newGuard(s, pid, controlW, reportsR)
			g.cgroup = group
			go g.startBeside(pidfd)
			return g, nil
		}
	}
	group.remove()
	_ = controlW.Close()
	_ = reportsR.Close()
	return nil, err
}

// startBeside starts the sentinel, once the guard is ready: a process that starts is
// slowed down by another one.
func (g *Guard) startBeside(pidfd int) {
	defer close(g.beside)
	<-g.ready
	if !g.reaped.Load() {
		g.sentinel = startSentinel(pidfd, g.cgroup)
	}
	if pidfd >= 0 {
		_ = syscall.Close(pidfd)
	}
}

func newGuard(s Spec, pid int, control, reports *os.File) *Guard {
	g := &Guard{
		spec: s, pid: pid, control: control, reports: make(chan report, 16),
		ready: make(chan struct{}), beside: make(chan struct{}),
	}
	if p, err := readProcess(pid); err == nil {
		g.start = p.start
	}
	go func() {
		ready := sync.OnceFunc(func() { close(g.ready) })
		_ = receive(reports, func(r report) {
			ready() // whatever it says
			if r.Is != isReady {
				g.reports <- r
			}
		})
		ready()
		close(g.reports)
		_ = reports.Close()
	}()
	return g
}

// prepareFamily makes this process the one that gets a dead guard's orphans,
// and notes whom it must never take for one.
func prepareFamily() error {
	if family.ready {
		return nil
	}
	family.atExec, family.guards, family.sentinels = make(map[int]uint64), make(map[int]bool), make(map[int]bool)
	if err := becomeSubreaper(); err != nil {
		return err
	}
	all, err := descendants(os.Getpid(), nil)
	for _, p := range all {
		family.atExec[p.pid] = p.start
	}
	if err != nil {
		return err
	}
	family.ready = true
	go reapStrangers()
	return nil
}

// reaping is held by who reaps children other than guards, and by who kills
// them: a pid that is listed stays its own until it is reaped.
var reaping sync.Mutex

// reapStrangers takes the dead that came to us as subreaper and that nobody
// else here waits for.
func reapStrangers() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	for range died {
		reapDead()
	}
}

// reapDead takes them up to the first guard, which is left to who waits for it; that
// one calls this again.
func reapDead() {
	reaping.Lock()
	defer reaping.Unlock()
	for pid := waitable(); pid != 0 && !isGuard(pid); pid = waitable() {
		forgetSentinel(pid) // before its pid can be another's
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}

func isGuard(pid int) bool {
	family.Lock()
	defer family.Unlock()
	return family.guards[pid]
}

func forget(pid int) {
	family.Lock()
	defer family.Unlock()
	delete(family.guards, pid)
}

func forgetSentinel(pid int) {
	family.Lock()
	defer family.Unlock()
	delete(family.sentinels, pid)
}

// foreign reports whether a process below us is not of this guard's tree: there
// before the first guard, older than this guard, another guard or a sentinel. If
// there were children at exec, their orphans come to us too; what is not marked
// as this tenure's is then taken for one of those.
func (g *Guard) foreign(p process) bool {
	family.Lock()
	start, atExec := family.atExec[p.pid]
	others := len(family.atExec) > 0
	ours := family.guards[p.pid] || family.sentinels[p.pid]
	family.Unlock()
	switch {
	case ours, atExec && (p.start == 0 || start == p.start):
		return true
	case p.start != 0 && p.start < g.start:
		return true
	}
	return others && g.mark != "" && p.pid != g.child && !marked(p.pid, g.mark)
}

func itoa(fd uintptr) string { return strconv.Itoa(int(fd)) }
