//go:build linux

package e2e

import (
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// burn keeps every processor busy twice over until the end of the test.
func burn(t *testing.T) {
	t.Helper()
	for range 2 * runtime.NumCPU() {
		c := &candidate{cmd: exec.Command(childBin, "--burn"), done: make(chan struct{})}
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		must(t, c.run())
		t.Cleanup(func() { c.destroy(t) })
	}
}

// nice starts a program behind others.
func nice(name string, args ...string) *exec.Cmd {
	return exec.Command("nice", append([]string{"-n", "10", name}, args...)...)
}

// Two programs on each processor go before leaderrun, its guard and its child: the
// same child goes on as long as renewals make it. Once the supervisor is frozen, the
// tree is dead before another leads: that is up to the guard alone, which goes before
// them where that is allowed, and to the sentinel. The child is as nice as before.
func TestStarved(t *testing.T) {
	eachStore(t, func(s *store) {
		t, ttl := s.t, s.lease(4*time.Second)
		burn(t)
		e := newElection(t, s)
		a, b, first := e.pair(spec{ttl: ttl, via: nice, command: e.tame("--fork", "--daemon")},
			spec{ttl: ttl, via: nice, command: e.wild()}, everyRole...)
		a.theGuard(t)
		if attr, err := unix.SchedGetAttr(first.mains[0], 0); err != nil || attr.Policy != unix.SCHED_NORMAL || attr.Nice != 10 {
			t.Errorf("the child runs as %+v (%v), want nice 10", attr, err)
		}
		e.goesOn(first, 2*ttl)
		e.diedInTime(first, freeze(t, a.pid), ttl)
		e.handedOver(first, e.leads(b, first), s.takeover(ttl)+prompt)
	})
}

// Every answer of the store takes long, but a renewal has time for those that it
// needs, on a new connection too: a sixth of the lease for three on etcd and two on
// Consul; an eighth, of at most 20 s here, for four on ZooKeeper.
func TestSlowStore(t *testing.T) {
	t.Parallel()
	slow := map[*kind]struct{ answer, ttl time.Duration }{
		etcdKind:   {900 * time.Millisecond, 18 * time.Second},
		consulKind: {900 * time.Millisecond, 14 * time.Second},
		zkKind:     {500 * time.Millisecond, 20 * time.Second},
	}
	eachNetworkStore(t, func(n network) {
		n.t.Parallel()
		s := shared(n.t, n.kind)
		t, ttl, answer := s.t, slow[n.kind].ttl, slow[n.kind].answer
		e := newElection(t, s)
		proxy := servers.NewProxy(t, s.Endpoints()[0])
		proxy.Delay(answer/2, answer/2)
		url := s.at(proxy.Addr())
		a, b, first := e.pair(
			spec{ttl: ttl, flags: littleGrace, store: url, command: e.tame()},
			spec{ttl: ttl, store: url, command: e.wild()})
		e.goesOn(first, ttl+time.Second)
		a.signal(t, unix.SIGTERM)
		e.handedOver(first, e.leads(b, first), s.takeover(ttl))
	})
}

// The supervisor runs for a third of the time only, in slices, for two leases.
func TestStutter(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t, ttl := s.t, s.lease(4*time.Second)
		e := newElection(t, s)
		a, _, first := e.pair(spec{ttl: ttl, command: e.tame()}, spec{ttl: ttl})
		for end := now().add(2 * ttl); now() < end; pass(100 * time.Millisecond) {
			kill(t, unix.SIGSTOP, a.pid)
			pass(200 * time.Millisecond)
			kill(t, unix.SIGCONT, a.pid)
		}
		e.goesOn(first, time.Second)
	})
}
