//go:build unix

// Package guard runs commands in a second, small process, the guard, that ends
// a command's whole tree at an absolute deadline, whatever becomes of the
// process that asked for it. One guard runs the commands of one tenure, one
// after the other.
//
// What it guarantees on Linux: when [Run.Run] returns, no process that the command
// started is left, also those that called setsid or forked twice. At the
// tenure's ValidUntil, as last told to the guard, the guard kills the tree;
// if the guard is stopped or starved, the kernel kills guard and child
// [selfKillSlack] later, and Run.Run the rest. If this process is gone, the guard
// kills the tree at once and gives the lock back with its ticket. What [Guard.Check]
// starts is of the tree of the command that runs.
//
// Where a cgroup v2 below this process's own may be made, the tree lives in it
// and dies by one write, whatever it forks and whichever user it has become; a
// third process, the sentinel, does that when guard and this process are frozen
// or killed together. Elsewhere the tree is killed as it is found, over and over
// until no child is left.
//
// A storm of forks is outrun by either if the guard gets to run, which root's
// does before ordinary processes. Of a thousand that fork and live, and of fifty
// that fork and exit, each into a new session, nothing lived 3 ms (by cgroup) or
// 15 ms (by sweep) after the deadline, on two cores. Another user's guard is one
// among those thousand: without a cgroup, what forks and lives in the child's
// process group then dies at once when it gets to run, but no bound is known for
// what forks and exits.
//
// What it does not: without a cgroup, and with both frozen or killed together,
// only the direct child dies, by its parent-death signal, and not if it changed
// its user or executed a set-user-ID program. What is frozen with the sentinel,
// by its cgroup, dies with the thaw. A process that cannot be killed is waited
// for without end. On macOS there is neither subreaper nor parent-death signal: what
// leaves the child's process group can be missed, and a guard that is killed
// leaves the child to this process.
//
// It knows no store and no network.
package guard

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"leaderrun/lock/bootclock"
)

// Names of the hidden commands that start this program as a guard, as its
// sentinel and as what gives a ticket back.
const (
	GuardCommand    = "guard"
	SentinelCommand = "sentinel"
	ReleaseCommand  = "release"
)

// reportWithin is how long a guard may take to report its tree dead once the
// tenure is over, before it counts as frozen and is killed itself, and the rest
// of the tree by this process. It is under the least margin of a deadline, 250
// ms.
const reportWithin = 200 * time.Millisecond

// reportLater is that while the lease goes on: a guard that is only slow, as on a
// loaded machine, is still needed for --on-lost.
const reportLater = 2 * time.Second

// A Tenure is the part of a lease that a Run needs.
type Tenure interface {
	ValidUntil() bootclock.Instant
	Renewed() <-chan struct{}
	Lost() <-chan struct{}
}

// A Spec is what a guard is started with.
type Spec struct {
	Path string   // of the executable
	Argv []string // with the command's name
	Held *os.File // the lock's descriptor, to be kept open by the guard, or nil

	// Told from the goroutine that called Run.Run; they must not block.
	Stopped    func(syscall.Signal)     // job control stopped the child
	Unkillable func(pid int, err error) // Run.Run tries on and on
}

// A Cause says who ended the tree.
type Cause string

// The causes.
const (
	Exited     Cause = "exit"        // the child, by itself or by a signal that was sent to it
	Deadline   Cause = "deadline"    // the guard
	Killed     Cause = "killed"      // Run.Run, because the tenure was lost or its context done
	NotStarted Cause = "not started" // nobody: see Result.Errno
	GuardDied  Cause = "guard died"  // Run.Run, after it; nothing more can be run
)

// A Result is how a command ended.
type Result struct {
	Cause  Cause
	Status syscall.WaitStatus // of the child; SIGKILL if nobody saw it
	Errno  syscall.Errno      // NotStarted: of the exec; ETIME when the tenure was over or the ticket given back
	Front  bool               // the child was in the terminal's foreground
}

// ExitCode is the status as a shell tells it: 128+N for signal N.
func (r Result) ExitCode() int {
	if r.Status.Signaled() {
		return 128 + int(r.Status.Signal())
	}
	return r.Status.ExitStatus()
}

// A Guard is a guard process that waits to run commands, one at a time.
type Guard struct {
	spec     Spec
	pid      int
	start    uint64
	control  *os.File // orders to it
	reports  chan report
	cgroup   *cgroup
	ready    chan struct{} // closed when it is, or dead
	beside   chan struct{} // closed when the sentinel is there, if there can be one
	sentinel *sentinel
	mark     string // of the tenure, see MarkVariable
	child    int    // pid of the latest
	group    int    // its process group; 0 if that is shared
	now      current
	ended    sync.Once // the guard
	reaped   atomic.Bool
	cleared  sync.Once // what stood beside it
}

// Start starts a guard, which has nothing to do yet.
func Start(s Spec) (*Guard, error) {
	g, err := launch(s)
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	return g, nil
}

// Prepare has the guard hold the ticket, which is what the release command reads to
// give the lock back, from now on: if this process dies, the guard gives it back. It
// is called once, before the first command.
func (g *Guard) Prepare(ticket []byte) error {
	spec := &wireSpec{Path: []byte(g.spec.Path), Ticket: ticket, Group: syscall.Getpgrp()}
	if err := send(g.control, order{Do: doPrepare, Spec: spec}); err != nil {
		return fmt.Errorf("prepare guard: %w", err)
	}
	return nil
}

// Cgroup names the tree's to EndOrphans; "" is none.
func (g *Guard) Cgroup() string { return g.cgroup.id() }

// Hold says that more commands follow: the guard, whose tree is dead, does not give the
// ticket back while this process lives, but at once when it is gone. Without it the guard
// does so [giveBackAfter] a tree's death and starts nothing any more (see NotStarted). A
// tree that the guard had to end at the deadline is the last in any case: its ticket is
// given back even though this process lives, since it may be frozen.
//
// It may be called at any time, once for all commands; it does not block.
func (g *Guard) Hold() { _ = send(g.control, order{Do: doHold}) }

func (r report) result() Result {
	res := Result{Status: syscall.WaitStatus(r.Status), Errno: r.Errno, Front: r.Front}
	switch r.Cause {
	case causeExit:
		res.Cause = Exited
	case causeDeadline:
		res.Cause = Deadline
	case causeNoStart:
		res.Cause = NotStarted
	default:
		res.Cause = Killed
	}
	return res
}
