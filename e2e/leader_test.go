//go:build linux

package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Two candidates, one child; those that stand by say who leads, and say it again
// within a second of each change.
func TestOneLeads(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a := e.start(spec{id: "a"})
		first := e.leads(a, nil)
		b := e.start(spec{id: "b"})
		namesLeader(t, b.standsBehind(t, "a", patient), first)
		c := e.start(spec{id: "c"})
		namesLeader(t, c.standsBehind(t, "a", patient), first)
		staysTrue(t, "there is one child", time.Second, func() bool {
			e.history.read(t)
			return len(e.history.tenures) == 1 && len(treeOf(t, e.dir)) == 1
		})

		a.signal(t, unix.SIGTERM)
		next, second := e.next(first, b, c)
		standby := map[*candidate]*candidate{b: c, c: b}[next]
		line := standby.standsBehind(t, next.id, patient)
		if late := now().since(second.first); late > 2*time.Second {
			t.Errorf("the standby said who leads %v after the change, want a second", late)
		}
		namesLeader(t, line, second)
	})
}

func namesLeader(t *testing.T, line logLine, leader *tenure) {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"leader": leader.candidates[0], "leader_host": host, "leader_token": strconv.FormatUint(leader.token, 10),
	}
	for key, value := range want {
		if line.get(key) != value {
			t.Errorf("standing by says %s=%q, want %q: %v", key, line.get(key), value, line)
		}
	}
}

// Each transition is a line that says what happened to whom.
func TestLogNamesTransitions(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a := e.start(spec{id: "a", flags: []string{"--label", "zone=x"}, command: e.child("--exit", "3", "--after", "100ms")})
		a.exits(t, 3, patient)
		n := e.of(a)
		token := strconv.FormatUint(n.token, 10)
		for _, want := range []map[string]string{
			{"msg": campaigning},
			{"msg": elected, "fencing_token": token},
			{"msg": childStarted, "fencing_token": token, "pid": strconv.Itoa(n.mains[0])},
			{"msg": childStopped, "fencing_token": token, "status": "3"},
			{"msg": released, "fencing_token": token},
			{"msg": exiting, "status": "3"},
		} {
			lines := a.said(want["msg"])
			if len(lines) != 1 {
				t.Errorf("%d lines %q, want one", len(lines), want["msg"])
				continue
			}
			want["election"], want["candidate"], want["zone"] = e.name, "a", "x"
			for key, value := range want {
				if got := lines[0].get(key); got != value {
					t.Errorf("%s=%q, want %q: %v", key, got, value, lines[0])
				}
			}
			for _, key := range []string{"time", "store", "version"} {
				if lines[0].get(key) == "" {
					t.Errorf("no %s: %v", key, lines[0])
				}
			}
		}
	})
}

// A standby that crashed leaves no dead place in the queue.
func TestStandbyKilled(t *testing.T) {
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a := e.start(spec{id: "a"})
		first := e.leads(a, nil)
		b := e.start(spec{id: "b"})
		b.standsBehind(t, "a", patient)
		c := e.start(spec{id: "c"})
		c.standsBehind(t, "a", patient)

		b.signal(t, unix.SIGKILL)
		a.signal(t, unix.SIGTERM)
		e.handedOver(first, e.leads(c, first), prompt)
	})
}

// Fencing tokens rise across restarts of everything: candidates that end well,
// that are killed with their guards, and the store itself.
func TestTokensRise(t *testing.T) {
	t.Parallel()
	t.Run("file", func(t *testing.T) { tokensRise(t, fileStore(t)) })
	eachNetworkStore(t, func(n network) { tokensRise(n.t, own(n.t, n.kind, serverOptions{})) })
}

func tokensRise(t *testing.T, s *store) {
	t.Helper()
	const ttl = 3 * time.Second
	e := newElection(t, s)
	once := func(id string) {
		c := e.start(spec{id: id, ttl: ttl, command: e.child("--exit", "0", "--after", "50ms")})
		c.exits(t, 0, patient)
	}
	once("a")
	once("b")
	c := e.start(spec{id: "c", ttl: ttl})
	e.leads(c, nil)
	kill(t, unix.SIGKILL, c.pid, c.theGuard(t))
	c.exits(t, 128+int(unix.SIGKILL), patient)
	if !s.isFile() {
		must(t, s.Restart(0))
	}
	once("d")
	once("e")
	e.history.read(t)
	// That they rose is checked at the end of every test.
	if got := len(e.history.tenures); got != 5 {
		t.Errorf("%d tenures, want 5:\n%v", got, e.history)
	}
}
