//go:build linux

package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// How process 1 can fail: it loses a signal or tells it twice; it leaves zombies;
// it ends before the lock is given back, or stays when nobody will; a tree lives on
// after it, or longer than the stop time-out; the status is not the child's; the
// child is not born as it would be without; Ctrl-Z stops what nobody continues. The
// same in Docker is in docker_test.go.

// unshare runs a program as process 1 of a process namespace.
var unshare = []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"}

func needsPIDNS(t testing.TB) {
	t.Helper()
	if out, err := exec.Command(unshare[0], append(unshare[1:], "true")...).CombinedOutput(); err != nil {
		without(t, "pidns", fmt.Errorf("%w: %s", err, out))
	}
}

// inContainer starts a candidate as process 1 of a process namespace, as a Docker
// entrypoint is. It skips where that may not be made.
func (e *election) inContainer(t *testing.T, s spec, before ...string) (init *candidate, pid1 int) {
	t.Helper()
	needsPIDNS(t)
	s.via = func(name string, args ...string) *exec.Cmd {
		argv := slices.Concat(unshare[1:], before, []string{name}, args)
		return exec.Command(unshare[0], argv...)
	}
	init = e.start(s)
	waitFor(t, "process 1", patient, func() bool {
		for _, p := range childrenOf(t, init.pid) {
			if isLeaderrun(p) {
				pid1 = p.pid
			}
		}
		return pid1 != 0
	})
	return init, pid1
}

// below1 waits for the supervisor below process 1 and its guard.
func below1(t testing.TB, pid1 int) (supervisor, guard int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("the supervisor below %d", pid1), patient, func() bool {
		for _, p := range childrenOf(t, pid1) {
			if isLeaderrun(p) && !isGuard(p) {
				supervisor = p.pid
			}
		}
		return supervisor != 0
	})
	return supervisor, guardOf(t, supervisor)
}

// As process 1 leaderrun does what it does elsewhere.
func TestProcessOne(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, pid1 := e.inContainer(t, spec{id: "a", command: e.tame("--term-exit", "5", "--fork", "--daemon")})
		first := e.leads(a, nil, everyRole...)
		b := e.start(spec{id: "b", command: e.wild()})
		b.standsBehind(t, "a", patient)
		kill(t, unix.SIGTERM, pid1)
		a.exits(t, 5, patient)
		second := e.leads(b, first, everyRole...)
		e.handedOver(first, second, prompt)
		e.childGot(first, "SIGTERM")

		c, _ := e.inContainer(t, spec{id: "c", command: e.child("--signal", "SEGV", "--after", "300ms", "--fork", "--daemon")})
		c.standsBehind(t, "b", patient)
		b.signal(t, unix.SIGKILL)
		c.exits(t, 128+11, patient)
		e.handedOver(second, e.of(c), prompt)
	})
}

// Every signal that can be forwarded reaches the child, real-time ones too.
func TestProcessOneSignals(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	a, pid1 := e.inContainer(t, spec{id: "a", command: e.tame()})
	first := e.leads(a, nil)
	var want []string
	for _, sig := range []syscall.Signal{
		unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT, unix.SIGALRM,
	} {
		want = append(want, unix.SignalName(sig))
		kill(t, sig, pid1)
		waitFor(t, "the child to get "+unix.SignalName(sig), patient, func() bool { return len(e.signalsReceived()) >= len(want) })
	}
	e.childGot(first, want...)
	kill(t, unix.SIGTERM, pid1)
	a.exits(t, 128+15, patient)

	const realTime = 40 // which a program in Go would not notice
	b, pid1 := e.inContainer(t, spec{id: "b", command: []string{"sleep", "1000"}})
	b.says(t, childStarted, 1, patient)
	kill(t, realTime, pid1)
	b.exits(t, 128+realTime, patient)
}

// The supervisor is killed and its guard, stopped, gives nothing back: process 1 stays
// for it until it is told to stop, and then ends it with the rest.
func TestProcessOneStopsWithoutSupervisor(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	a, pid1 := e.inContainer(t, spec{id: "a", command: e.wild()})
	first := e.leads(a, nil, everyRole...)
	supervisor, guard := below1(t, pid1)
	kill(t, unix.SIGSTOP, guard)
	kill(t, unix.SIGKILL, supervisor)
	staysTrue(t, "process 1 stays", 2*time.Second, func() bool { return !a.ended() })
	told := now()
	kill(t, unix.SIGTERM, pid1)
	a.exits(t, 128+9, time.Second+prompt)
	e.diedAtOnce(first, told)
}

// A tree that does not want to stop is dead within the stop time-out, and process 1
// with it, in time for `docker stop`, which waits ten seconds.
func TestProcessOneStopsWild(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		const stopTimeout = 8 * time.Second // the default
		e := newElection(t, s)
		a, pid1 := e.inContainer(t, spec{id: "a", command: e.wild()})
		first := e.leads(a, nil, everyRole...)
		b := e.start(spec{id: "b"})
		b.standsBehind(t, "a", patient)
		told := now()
		kill(t, unix.SIGTERM, pid1)
		a.exits(t, 128+9, patient)
		took := now().since(told)
		t.Logf("process 1 was gone %v after TERM", took)
		if took > stopTimeout+prompt {
			t.Errorf("process 1 was gone %v after TERM, want the stop time-out of %v", took, stopTimeout)
		}
		a.says(t, released, 1, patient)
		e.handedOver(first, e.leads(b, first), prompt)
	})
}

// The supervisor is killed: process 1 stays until the guard has given the lock back,
// and no longer.
func TestProcessOneSupervisorKilled(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, pid1 := e.inContainer(t, spec{id: "a", command: e.wild()})
		first := e.leads(a, nil, everyRole...)
		b := e.start(spec{id: "b", command: e.wild()})
		b.standsBehind(t, "a", patient)
		supervisor, _ := below1(t, pid1)
		fault := now()
		kill(t, unix.SIGKILL, supervisor)
		second := e.leads(b, first, everyRole...)
		e.diedAtOnce(first, fault)
		e.handedOver(first, second, prompt)
		a.exits(t, 128+9, prompt)
		a.says(t, released, 1, patient)
	})
}

// Supervisor and guard are killed together, or process 1: the kernel kills the whole
// tree, and not only the direct child as elsewhere.
func TestProcessOneAllKilled(t *testing.T) {
	t.Parallel()
	for name, victims := range map[string]func(pid1, supervisor, guard int) []int{
		"supervisor and guard": func(_, supervisor, guard int) []int { return []int{supervisor, guard} },
		"process 1":            func(pid1, _, _ int) []int { return []int{pid1} },
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(s *store) {
				t := s.t
				const ttl = 3 * time.Second
				e := newElection(t, s)
				a, pid1 := e.inContainer(t, spec{id: "a", ttl: ttl, command: e.wild()})
				first := e.leads(a, nil, everyRole...)
				b, _ := e.inContainer(t, spec{id: "b", ttl: ttl, command: e.wild()})
				b.standsBehind(t, "a", patient)
				supervisor, guard := below1(t, pid1)
				fault := now()
				kill(t, unix.SIGKILL, victims(pid1, supervisor, guard)...)
				waitFor(t, "process 1 to end", prompt, a.ended) // of a killed one unshare has no status
				second := e.leads(b, first, everyRole...)
				e.diedAtOnce(first, fault)
				e.handedOver(first, second, s.takeover(ttl))
			})
		})
	}
}
