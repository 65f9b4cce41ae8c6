//go:build linux

package e2e

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// A cut is one way to lose the way to the store without a reset.
type cut struct {
	do, heal  func() error
	leaderURL string
	leaderVia func(name string, args ...string) *exec.Cmd
	store     *store
}

// cuts returns the ways of cutting a candidate off from each store: a proxy that
// holds what passes it, and a network namespace whose packets iptables drops.
func cuts(t *testing.T, run func(c cut)) {
	t.Helper()
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		t.Parallel()
		t.Run("held", func(t *testing.T) {
			s := shared(t, k)
			proxy := servers.NewProxy(t, s.Endpoints()[0])
			run(cut{
				do:        func() error { proxy.Hold(); return nil },
				heal:      func() error { proxy.Resume(); return nil },
				leaderURL: s.at(proxy.Addr()), store: s,
			})
		})
		servers.Require(t, "netns")
		ns := servers.NewNetns(t)
		s := own(t, k, serverOptions{host: ns.Addr()})
		for _, way := range []struct {
			name string
			drop func(*servers.Netns) error
		}{
			{"dropped", (*servers.Netns).Drop},
			{"dropped from the store", (*servers.Netns).DropIn},
			{"dropped to the store", (*servers.Netns).DropOut},
		} {
			t.Run(way.name, func(t *testing.T) {
				run(cut{
					do:        func() error { return way.drop(ns) },
					heal:      ns.Heal,
					leaderVia: ns.Command, leaderURL: s.url, store: s.in(t),
				})
				must(t, ns.Heal())
			})
		}
	})
}

// A leader that cannot reach the store any more tells its child to stop at the
// deadline less the grace, kills it at the deadline, and only then another leads.
func TestCutOff(t *testing.T) {
	t.Parallel()
	const (
		lease  = 4 * time.Second
		grace  = time.Second
		margin = 250 * time.Millisecond
		jitter = 250 * time.Millisecond // of a loaded machine
	)
	cuts(t, func(c cut) {
		t, ttl := c.store.t, c.store.lease(lease)
		e := newElection(t, c.store)
		a, b, first := e.pair(spec{
			ttl: ttl, flags: []string{"--loss-grace", grace.String()},
			store: c.leaderURL, via: c.leaderVia, command: e.wild("--log-signals", e.signals),
		}, spec{ttl: ttl, command: e.wild()}, everyRole...)

		renewed(ttl)
		must(t, c.do())
		fault := now()
		e.diedInTime(first, fault, ttl-margin+jitter)
		told := e.toldToStop(first)
		if early := told.since(fault); early < lease/4 {
			t.Errorf("told to stop %v after the fault: too early for a TTL of %v", early, ttl)
		}
		if got := first.last.since(told); got < grace-jitter || got > grace+jitter {
			t.Errorf("killed %v after the stop signal, want the grace of %v", got, grace)
		}
		second := e.leads(b, first, everyRole...)
		e.handedOver(first, second, c.store.takeover(ttl))
		if took := second.first.since(fault); took > c.store.takeover(ttl) {
			t.Errorf("the other led %v after the fault", took)
		}
		if line := a.says(t, renewalFailing, 1, patient); line.get("left") == "" || line.get("cause") == "" {
			t.Errorf("does not say why and how long is left: %v", line)
		}
		if line := a.says(t, lost, 1, patient); line.get("cause") == "" {
			t.Errorf("does not say why: %v", line)
		}
		must(t, c.heal())
		a.campaignsAgain(t, patient)
		a.standsBehind(t, "b", patient)
	})
}

// toldToStop returns when the child got TERM.
func (e *election) toldToStop(n *tenure) instant {
	e.t.Helper()
	for _, r := range e.signalsReceived() {
		if r.pid == n.mains[0] && r.name == unix.SignalName(unix.SIGTERM) {
			return r.at
		}
	}
	e.t.Fatal("the child was never told to stop")
	return 0
}

// An interruption of two seconds goes by without notice.
func TestCutOffBriefly(t *testing.T) {
	t.Parallel()
	const off = 2 * time.Second
	cuts(t, func(c cut) {
		t, ttl := c.store.t, c.store.lease(3*off)
		e := newElection(t, c.store)
		_, _, first := e.pair(spec{
			ttl: ttl, flags: littleGrace,
			store: c.leaderURL, via: c.leaderVia, command: e.tame(),
		}, spec{ttl: ttl})
		renewed(ttl)
		must(t, c.do())
		pass(off)
		must(t, c.heal())
		e.goesOn(first, ttl+time.Second)
	})
}
