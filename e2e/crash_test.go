//go:build linux

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// everyRole are the processes of a wild child.
var everyRole = []string{"fork", "daemon"}

// diedAtOnce asserts that nothing of the tenure lived on after the fault.
func (e *election) diedAtOnce(n *tenure, fault instant) {
	e.t.Helper()
	died := e.dead(n)
	e.t.Logf("the tree of token %d died %v after the fault", n.token, died.since(fault))
	if steady.ran(fault, died) > prompt {
		e.t.Errorf("the tree of token %d died %v after the fault", n.token, died.since(fault))
	}
}

// The supervisor is SIGKILLed: the guard kills the tree and gives the lock back,
// so that nobody waits for the lease.
func TestSupervisorKilled(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, b, first := e.pair(spec{command: e.wild()}, spec{command: e.wild()}, everyRole...)
		a.theGuard(t)
		fault := now()
		a.signal(t, unix.SIGKILL)
		second := e.leads(b, first, everyRole...)
		e.diedAtOnce(first, fault)
		e.handedOver(first, second, prompt)
	})
}

// The guard is SIGKILLed: the direct child dies with it, the supervisor sweeps up
// the rest, releases and campaigns again.
func TestGuardKilled(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, b, first := e.pair(spec{command: e.wild()}, spec{command: e.wild()}, everyRole...)
		guard := a.theGuard(t)
		fault := now()
		kill(t, unix.SIGKILL, guard)
		second := e.leads(b, first, everyRole...)
		e.diedAtOnce(first, fault)
		e.handedOver(first, second, prompt)
		a.campaignsAgain(t, patient)
		a.standsBehind(t, "b", patient)

		// It is a whole candidate again: it leads when its turn comes.
		b.signal(t, unix.SIGKILL)
		e.handedOver(second, e.leads(a, second, everyRole...), prompt)
	})
}

// Without a rival the one who lost its guard leads again.
func TestGuardKilledAlone(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a := e.start(spec{id: "a", command: e.wild()})
		first := e.leads(a, nil, everyRole...)
		kill(t, unix.SIGKILL, a.theGuard(t))
		e.handedOver(first, e.leads(a, first, everyRole...), 2*prompt) // there may be a pause before it tries again
	})
}

// The guard of a standby is SIGKILLed: the standby goes on and leads in its turn.
func TestStandbyGuardKilled(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, b, first := e.pair(spec{}, spec{})
		kill(t, unix.SIGKILL, b.theGuard(t))
		staysTrue(t, "the standby lives", 2*time.Second, func() bool { return !b.ended() })
		a.signal(t, unix.SIGTERM)
		e.handedOver(first, e.leads(b, first), 2*prompt)
	})
}

// Supervisor and guard are SIGKILLed in one instant. The kernel kills the direct
// child, and where there is a cgroup the sentinel kills the rest; over a network
// the lease must end first.
func TestBothKilled(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		const ttl = 3 * time.Second
		e := newElection(t, s)
		command, roles := e.treeRoles()
		a, b, first := e.pair(spec{ttl: ttl, command: command}, spec{ttl: ttl, command: command}, roles...)
		guard := a.theGuard(t)
		fault := now()
		kill(t, unix.SIGKILL, a.pid, guard)
		second := e.leads(b, first, roles...)
		e.diedAtOnce(first, fault)
		e.handedOver(first, second, s.takeover(ttl))
	})
}

// A package upgrade replaces the binary, or removes it, under a running leader.
// Guard and release are of the image that was started.
func TestBinaryGone(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		for name, upgrade := range map[string]func(bin string) error{
			"deleted": os.Remove,
			"replaced": func(bin string) error {
				err := os.WriteFile(bin+".new", []byte("#!/bin/sh\nexit 1\n"), 0o755)
				return errors.Join(err, os.Rename(bin+".new", bin))
			},
		} {
			t.Run(name, func(t *testing.T) {
				e := newElection(t, s)
				// A link and not a copy: who writes a program and forks meanwhile cannot run it.
				bin := filepath.Join(filepath.Dir(leaderrunBin), e.name+"-leaderrun")
				must(t, os.Link(leaderrunBin, bin))
				a, b, first := e.pair(spec{bin: bin, command: e.wild()}, spec{command: e.wild()}, everyRole...)
				a.theGuard(t)
				must(t, upgrade(bin))
				fault := now()
				a.signal(t, unix.SIGKILL)
				second := e.leads(b, first, everyRole...)
				e.diedAtOnce(first, fault)
				e.handedOver(first, second, prompt)
			})
		}
	})
}
