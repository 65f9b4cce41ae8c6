//go:build linux

package e2e

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// Who does not lead in the time given exits with 75, or with the status asked
// for, and has started nothing.
func TestNotElected(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		first := e.leads(e.start(spec{id: "a"}), nil)
		for _, c := range []struct {
			id          string
			flags       []string
			status      int
			least, most time.Duration
		}{
			{"try", []string{"--try", "--log-level", "info"}, 75, 0, 2 * time.Second},
			{"wait", []string{"--wait", "1s"}, 75, time.Second, 3 * time.Second},
			{"E", []string{"--try", "-E", "0", "--log-level", "info"}, 0, 0, 2 * time.Second},
			{"status", []string{"--try", "--conflict-exit-code", "42", "--log-level", "info"}, 42, 0, 2 * time.Second},
		} {
			begin := now()
			b := e.start(spec{id: c.id, flags: c.flags})
			b.exits(t, c.status, patient)
			if took := now().since(begin); took < c.least || took > c.most {
				t.Errorf("%v: exited after %v, want %v to %v", c.flags, took, c.least, c.most)
			}
			if line := b.says(t, exiting, 1, time.Second); line.get("cause") == "" {
				t.Errorf("%v: does not say why: %v", c.flags, line)
			}
		}
		e.goesOn(first, 100*time.Millisecond)
	})
}

// A free election is led under --try and --wait too; --wait does not count the
// time of leading.
func TestElectedInTime(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		for _, flags := range [][]string{{"--try"}, {"--wait", "1s"}} {
			a := e.start(spec{id: flags[0], flags: flags, command: e.child("--exit", "3", "--after", "1500ms")})
			a.exits(t, 3, patient)
		}
	})
}

// A store that is dead, refusing or silent, until --wait ends: 69.
func TestStoreUnavailable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := l.Addr().String()
	_ = l.Close()
	silent := servers.NewProxy(t, refusing)
	silent.Hold()
	for _, c := range []struct {
		name, addr string
		flags      []string
		most       time.Duration
	}{
		{"refusing, try", refusing, []string{"--try"}, 10 * time.Second},
		{"refusing, wait", refusing, []string{"--wait", "1s"}, 3 * time.Second},
		{"silent, try", silent.Addr(), []string{"--try"}, 10 * time.Second},
		{"silent, wait", silent.Addr(), []string{"--wait", "1s"}, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachNetworkStore(t, func(n network) {
				t, k := n.t, n.kind
				s := &store{kind: k, t: t}
				s.url = s.at(c.addr)
				e := newElection(t, s)
				begin := now()
				a := e.start(spec{id: "a", flags: c.flags})
				a.exits(t, 69, patient)
				if took := now().since(begin); took > c.most {
					t.Errorf("exited after %v, want at most %v", took, c.most)
				}
				if line := a.says(t, exiting, 1, time.Second); !strings.Contains(line.get("cause"), c.addr) {
					t.Errorf("does not say which store is unavailable: %v", line)
				}
			})
		})
	}
}

// A store that is not up yet is waited for, and TERM ends that wait.
func TestStoreNotUpYet(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		s := own(t, k, serverOptions{})
		must(t, s.Kill(0))
		e := newElection(t, s)
		a, b := e.start(spec{id: "a"}), e.start(spec{id: "b"})
		a.says(t, "store unavailable", 1, patient)
		b.says(t, "store unavailable", 1, patient)
		b.signal(t, unix.SIGTERM)
		waitFor(t, "the standby to end", prompt, b.ended)
		must(t, s.Restart(0))
		e.leads(a, nil)
	})
}
