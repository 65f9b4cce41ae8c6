//go:build linux

package e2e

import (
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair starts a leader and a standby behind it.
func (e *election) pair(leader, standby spec, roles ...string) (a, b *candidate, first *tenure) {
	e.t.Helper()
	leader.id, standby.id = "a", "b"
	a = e.start(leader)
	first = e.leads(a, nil, roles...)
	b = e.start(standby)
	b.standsBehind(e.t, "a", patient)
	return a, b, first
}

// childGot asserts that the main process of a tenure got exactly these signals.
// A stop signal may come with CONT, without which a stopped child would not heed it.
func (e *election) childGot(n *tenure, want ...string) {
	e.t.Helper()
	var got []string
	for _, r := range e.signalsReceived() {
		if r.pid == n.mains[0] && (r.name != "SIGCONT" || slices.Contains(want, r.name)) {
			got = append(got, r.name)
		}
	}
	if !slices.Equal(got, want) {
		e.t.Errorf("the child got %v, want %v", got, want)
	}
}

// TERM and INT to the leader: the child gets that signal, leaderrun ends with the
// child's status, the next child starts at once.
func TestStopped(t *testing.T) {
	for _, c := range []struct {
		sig    syscall.Signal
		flags  []string // of the child
		status int
	}{
		{unix.SIGTERM, nil, 128 + 15},
		{unix.SIGINT, nil, 128 + 2},
		{unix.SIGQUIT, nil, 128 + 3},
		{unix.SIGTERM, []string{"--term-exit", "7", "--after", "300ms"}, 7},
		{unix.SIGTERM, []string{"--term-exit", "0", "--fork", "--daemon"}, 0},
	} {
		t.Run(unix.SignalName(c.sig)+" "+strconv.Itoa(c.status), func(t *testing.T) {
			eachStore(t, func(s *store) {
				t := s.t
				e := newElection(t, s)
				a, b, first := e.pair(spec{command: e.tame(c.flags...)}, spec{})
				a.signal(t, c.sig)
				a.exits(t, c.status, patient)
				e.handedOver(first, e.leads(b, first), prompt)
				e.childGot(first, unix.SignalName(c.sig))
			})
		})
	}
}

// A child that does not want to die is killed with all that it left once the stop
// time-out is over, and not before.
func TestStoppedWild(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, b, first := e.pair(spec{command: e.wild("--log-signals", e.signals), flags: []string{"--stop-timeout", "1s"}},
			spec{command: e.wild()}, "fork", "daemon")
		told := now()
		a.signal(t, unix.SIGTERM)
		a.exits(t, 128+9, patient)
		if took := e.dead(first).since(told); took < 900*time.Millisecond || took > time.Second+prompt {
			t.Errorf("the tree died %v after TERM, want the stop time-out of 1s", took)
		}
		e.childGot(first, "SIGTERM")
		e.handedOver(first, e.leads(b, first, "fork", "daemon"), prompt)
	})
}

// A second TERM or INT does not wait for the stop time-out.
func TestStoppedTwice(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, b, first := e.pair(spec{command: e.wild("--log-signals", e.signals), flags: []string{"--stop-timeout", "1m"}}, spec{})
		a.signal(t, unix.SIGTERM)
		waitFor(t, "the child to be told", patient, func() bool { return len(e.signalsReceived()) > 0 })
		told := now()
		a.signal(t, unix.SIGINT)
		a.exits(t, 128+9, patient)
		if took := e.dead(first).since(told); took > prompt {
			t.Errorf("the tree died %v after the second signal", took)
		}
		e.handedOver(first, e.leads(b, first), prompt)
	})
}

// systemd's default, KillMode=control-group, signals every process at once.
func TestStoppedTogether(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, b, first := e.pair(spec{command: e.tame("--fork", "--daemon", "--term-exit", "4")}, spec{}, "fork", "daemon")
		pids := []int{a.pid, a.theGuard(t)}
		for _, p := range e.aliveOf(first) {
			pids = append(pids, p.pid)
		}
		if len(pids) != 5 {
			t.Fatalf("%d processes, want supervisor, guard, child, fork and daemon", len(pids))
		}
		kill(t, unix.SIGTERM, pids...)
		a.exits(t, 4, patient)
		a.says(t, released, 1, patient)
		e.handedOver(first, e.leads(b, first), prompt)
	})
}

// --stop-signal is what TERM becomes for the child.
func TestStopSignal(t *testing.T) {
	e := newElection(t, fileStore(t))
	a := e.start(spec{id: "a", command: e.tame(), flags: []string{"--stop-signal", "QUIT"}})
	first := e.leads(a, nil)
	a.signal(t, unix.SIGTERM)
	a.exits(t, 128+int(unix.SIGQUIT), patient)
	e.childGot(first, "SIGQUIT")
}

// A standby ends at once when it is told to, and takes no notice of the signals
// that reach every host, such as a reload.
func TestStandbySignals(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		_, b, first := e.pair(spec{}, spec{})
		kill(t, unix.SIGHUP, b.pid)
		for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGALRM, unix.SIGCONT} {
			b.signal(t, sig)
		}
		staysTrue(t, "the standby stands by", 500*time.Millisecond, func() bool { return !b.ended() })
		b.signal(t, unix.SIGTERM)
		waitFor(t, "the standby to end", prompt, b.ended)

		for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGQUIT} {
			c := e.start(spec{id: "c" + unix.SignalName(sig)})
			c.standsBehind(t, "a", patient)
			c.signal(t, sig)
			waitFor(t, "the standby to end", prompt, c.ended)
		}
		if !e.beating(first) {
			t.Error("the leader's child is gone")
		}
	})
}
