//go:build linux

package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Somebody takes the lock from a running holder: revokes the lease, destroys or
// closes the session, deletes the key or node, deletes or replaces the lock file. The child is dead at once, the other
// leads at once after that, and the loser campaigns again.
func TestLockTaken(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		for _, breakage := range s.breakages {
			t.Run(breakage.name, func(t *testing.T) {
				e := newElection(t, s)
				a, b, first := e.pair(spec{command: e.wild()}, spec{command: e.wild()}, everyRole...)
				breakage.do(e)
				fault := now()
				second := e.leads(b, first, everyRole...)
				e.diedAtOnce(first, fault)
				e.handedOver(first, second, prompt)
				if line := a.says(t, lost, 1, patient); line.get("cause") == "" {
					t.Errorf("does not say why: %v", line)
				}
				a.campaignsAgain(t, patient)
				a.standsBehind(t, "b", patient)

				b.signal(t, unix.SIGKILL)
				e.handedOver(second, e.leads(a, second, everyRole...), prompt)
			})
		}
	})
}

// The lock is taken while its holder is frozen and cannot know. The README names
// that as a limit, but one that begins where a lease is longer than the time a
// winner settles: a shorter one has run out by then.
func TestLockTakenFromFrozen(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t, ttl := s.t, max(2*time.Second, s.shortest)
		for _, breakage := range s.breakages {
			t.Run(breakage.name, func(t *testing.T) {
				e := newElection(t, s)
				a, b, first := e.pair(spec{ttl: ttl, command: e.wild()}, spec{ttl: ttl, command: e.wild()}, everyRole...)
				a.theGuard(t)
				renewed(ttl)
				fault := freeze(t, a.pid)
				breakage.do(e)
				second := e.leads(b, first, everyRole...)
				e.diedInTime(first, fault, ttl)
				e.handedOver(first, second, ttl+prompt)
				kill(t, unix.SIGCONT, a.pid)
				a.campaignsAgain(t, patient)
				a.standsBehind(t, "b", patient)
			})
		}
	})
}

// Under --exit-on-loss the loser exits with 76.
func TestExitOnLoss(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, b, first := e.pair(spec{command: e.wild(), flags: []string{"--exit-on-loss"}}, spec{}, everyRole...)
		s.breakages[0].do(e)
		a.exits(t, 76, patient)
		e.handedOver(first, e.leads(b, first), prompt)
	})
}

// Somebody deletes a file store with all that is in it: whoever saw the holder
// before settles for it, also if it is frozen and cannot know, and goes on from its
// token.
func TestDirectoryDeleted(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		t.Run(fmt.Sprintf("frozen=%v", frozen), func(t *testing.T) {
			e := newElection(t, fileStore(t))
			a, b, first := e.pair(spec{command: e.wild()}, spec{command: e.wild()}, everyRole...)
			a.theGuard(t)
			if frozen {
				kill(t, unix.SIGSTOP, a.pid)
			}
			must(t, os.RemoveAll(e.store.dir))
			second := e.leads(b, first, everyRole...)
			if frozen {
				e.diedAtOnce(first, now())
				return
			}
			e.handedOver(first, second, settling+prompt)
			a.campaignsAgain(t, patient)
			b.signal(t, unix.SIGKILL)
			e.leads(a, second, everyRole...)
		})
	}
}
