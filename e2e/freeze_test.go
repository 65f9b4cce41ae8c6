//go:build linux

package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// diedInTime asserts that the last beat came before the lease could end, and
// returns when that is. The newest renewal was sent before the fault at the latest.
func (e *election) diedInTime(n *tenure, fault instant, ttl time.Duration) {
	e.t.Helper()
	took := e.dead(n).since(fault)
	e.t.Logf("the tree of token %d died %v after the fault, with a TTL of %v", n.token, took, ttl)
	if took >= ttl {
		e.t.Errorf("the tree of token %d died %v after the fault, the lease of %v was over", n.token, took, ttl)
	}
}

// renewed lets a leader renew its lease a few times: the deadline of the first
// grant and those of renewals are two things to get wrong. How long since the last
// renewal a fault then comes is left to chance.
func renewed(ttl time.Duration) {
	pass(ttl/2 + rand.N(ttl/4))
}

// freeze stops processes and returns the first moment at which all were stopped.
func freeze(t testing.TB, pids ...int) instant {
	t.Helper()
	kill(t, unix.SIGSTOP, pids...)
	waitFor(t, "the processes to be stopped", patient, func() bool {
		for _, pid := range pids {
			if s := stateOf(pid); s != "T" && s != "" {
				return false
			}
		}
		return true
	})
	return now()
}

// SIGSTOP to the supervisor, to the guard and to both: the tree is dead before
// the lease ends, whatever the child does, and the other leads. Continued, the
// frozen one campaigns again.
//
// When both are frozen the direct child dies by the guard's own timer and the
// parent-death signal, and the rest where there is a cgroup by the sentinel.
func TestFrozen(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	for _, c := range []struct {
		name              string
		supervisor, guard bool
	}{
		{"supervisor", true, false},
		{"guard", false, true},
		{"both", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachStore(t, func(s *store) {
				t := s.t
				e := newElection(t, s)
				command, roles := e.wild(), everyRole
				if c.supervisor && c.guard {
					command, roles = e.treeRoles()
				}
				a, b, first := e.pair(spec{ttl: ttl, command: command}, spec{ttl: ttl, command: command}, roles...)
				var pids []int
				if guard := a.theGuard(t); c.guard {
					pids = append(pids, guard)
				}
				if c.supervisor {
					pids = append(pids, a.pid)
				}
				renewed(ttl)
				fault := freeze(t, pids...)
				e.diedInTime(first, fault, ttl)
				second := e.leads(b, first, roles...)
				e.handedOver(first, second, s.takeover(ttl))
				kill(t, unix.SIGCONT, pids...)
				a.campaignsAgain(t, patient)
				a.standsBehind(t, "b", patient)
				if a.ended() {
					t.Error("the frozen candidate ended")
				}
			})
		})
	}
}

// A supervisor that is frozen for less than the lease goes on with its child.
func TestFrozenBriefly(t *testing.T) {
	t.Parallel()
	const frozen = 2 * time.Second
	eachStore(t, func(s *store) {
		t, ttl := s.t, s.lease(3*frozen)
		e := newElection(t, s)
		a, _, first := e.pair(spec{ttl: ttl, command: e.tame()}, spec{ttl: ttl})
		pids := []int{a.pid, a.theGuard(t)}
		freeze(t, pids...)
		pass(frozen)
		kill(t, unix.SIGCONT, pids...)
		e.goesOn(first, ttl+time.Second)
	})
}
