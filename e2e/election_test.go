//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An election is one test's candidates and the beats of their children.
type election struct {
	t          testing.TB
	store      *store
	name       string
	dir        string // in the arguments of every child, so that none gets lost
	signals    string // what --log-signals writes
	history    *history
	adding     sync.Mutex
	candidates []*candidate
	apart      bool // a fault run judges its history by itself
}

var elections atomic.Int64

// newElection prepares an election. Its end, after the test's, ends every
// process, checks the history and prints, if the test failed, all there is to know.
func newElection(t testing.TB, s *store) *election {
	t.Helper()
	dir := t.TempDir()
	e := &election{
		t: t, store: s, dir: dir,
		name:    fmt.Sprintf("e%d", elections.Add(1)),
		signals: filepath.Join(dir, "signals"),
		history: newHistory(filepath.Join(dir, "beats")),
	}
	t.Cleanup(e.end)
	return e
}

// child is the command line of testdata/child in this election.
func (e *election) child(flags ...string) []string {
	return append([]string{childBin, "--beats", e.history.path}, flags...)
}

// wild is a child that does not want to die: it ignores TERM and leaves a fork
// and a daemon.
func (e *election) wild(flags ...string) []string {
	return e.child(append(flags, "--ignore-term", "--fork", "--daemon")...)
}

// tame is a child that notes its signals and dies of TERM, INT and QUIT.
func (e *election) tame(flags ...string) []string {
	return e.child(append(flags, "--log-signals", e.signals)...)
}

// of returns the newest tenure of a candidate, as the beats tell it.
func (e *election) of(c *candidate) *tenure {
	e.t.Helper()
	e.history.read(e.t)
	for _, n := range slices.Backward(e.history.inOrder()) {
		if n.candidates[0] == c.id {
			return n
		}
	}
	return nil
}

// leads waits until the candidate's child beats in a tenure later than after,
// in all of the roles, and returns that tenure.
func (e *election) leads(c *candidate, after *tenure, roles ...string) *tenure {
	e.t.Helper()
	var n *tenure
	waitFor(e.t, c.id+" to lead", patient, func() bool {
		if n = e.of(c); n == nil || after != nil && n.token <= after.token {
			return false
		}
		for _, role := range append(roles, "main") {
			if n.roles[role] == 0 {
				return false
			}
		}
		return true
	})
	return n
}

// next waits until any of the candidates leads after before, and returns both.
func (e *election) next(before *tenure, candidates ...*candidate) (c *candidate, n *tenure) {
	e.t.Helper()
	waitFor(e.t, fmt.Sprintf("a leader after token %d", before.token), patient, func() bool {
		for _, c = range candidates {
			if n = e.of(c); n != nil && n.token > before.token {
				return true
			}
		}
		return false
	})
	return c, n
}

// goesOn asserts that the same child lives for d and is not told to stop.
func (e *election) goesOn(n *tenure, d time.Duration) {
	e.t.Helper()
	staysTrue(e.t, fmt.Sprintf("the child of token %d goes on", n.token), d, func() bool {
		e.history.read(e.t)
		return now().since(n.last) < time.Second && e.newest() == n
	})
	for _, r := range e.signalsReceived() {
		if r.pid == n.mains[0] && r.name == unix.SignalName(unix.SIGTERM) {
			e.t.Errorf("the child that goes on was told to stop: %v", r)
		}
	}
}

// newest is the tenure with the highest token.
func (e *election) newest() *tenure {
	return e.history.tenures[slices.Max(slices.Collect(maps.Keys(e.history.tenures)))]
}

// beating tells whether a process of the tenure lived within the last half second.
func (e *election) beating(n *tenure) bool {
	e.history.read(e.t)
	return now().since(n.last) < 500*time.Millisecond
}

// beatsAgain waits for a beat that is later than the call.
func (e *election) beatsAgain(n *tenure) {
	e.t.Helper()
	begin := now()
	waitFor(e.t, fmt.Sprintf("token %d to beat", n.token), patient, func() bool {
		e.history.read(e.t)
		return n.last > begin
	})
}

// dead waits until nothing of the tenure beats, and returns its last beat.
func (e *election) dead(n *tenure) instant {
	e.t.Helper()
	waitFor(e.t, fmt.Sprintf("the tree of token %d to be dead", n.token), patient, func() bool { return !e.beating(n) })
	return n.last
}

// handedOver asserts that nothing of before lives, that after began later, and
// returns the time without a leader.
func (e *election) handedOver(before, after *tenure, limit time.Duration) {
	e.t.Helper()
	e.history.read(e.t)
	gap := after.first.since(before.last)
	e.t.Logf("token %d to %d: %v without a leader", before.token, after.token, gap)
	if gap <= 0 || steady.ran(before.last, after.first) > limit {
		e.t.Errorf("%v between the last beat of token %d and the first of %d, want more than 0 and at most %v",
			gap, before.token, after.token, limit)
	}
	if left := e.aliveOf(before); len(left) != 0 {
		e.t.Errorf("token %d has left behind: %v", before.token, left)
	}
}

// aliveOf returns the processes of a tenure that /proc still shows.
func (e *election) aliveOf(n *tenure) []proc {
	e.t.Helper()
	token := fmt.Sprintf("LEADERRUN_FENCING_TOKEN=%d", n.token)
	return slices.DeleteFunc(treeOf(e.t, e.dir), func(p proc) bool {
		return !slices.Contains(environOf(p.pid), token)
	})
}

// end checks what holds for every test, tells what happened if it failed, and
// leaves no process.
func (e *election) end() {
	e.history.read(e.t)
	var breaches []error
	if !e.apart {
		_, breaches = e.history.check()
	}
	for _, breach := range breaches[:min(5, len(breaches))] {
		e.t.Error(breach)
	}
	if e.t.Failed() {
		e.tell()
	}
	for _, c := range e.candidates {
		c.destroy(e.t)
	}
	waitFor(e.t, "the end of every child", patient, func() bool {
		left := treeOf(e.t, e.dir)
		for _, p := range left {
			kill(e.t, unix.SIGKILL, p.pid)
		}
		return len(left) == 0
	})
}

func (e *election) tell() {
	e.t.Helper()
	e.t.Logf("beats:\n%v", e.history)
	e.t.Logf("signals: %v", e.signalsReceived())
	for _, c := range e.candidates {
		e.t.Logf("candidate %s (pid %d, %s):\n%s\n%s", c.id, c.pid, c.fate(), readFile(c.log), readFile(c.out))
	}
	for _, p := range treeOf(e.t, e.dir) {
		e.t.Logf("alive: pid %d of %d, %s, %v", p.pid, p.ppid, p.state, p.args)
	}
}

// A received is one line of the child's --log-signals.
type received struct {
	at   instant
	pid  int
	role string
	name string
}

func (e *election) signalsReceived() []received {
	e.t.Helper()
	data, err := os.ReadFile(e.signals)
	if err != nil && !os.IsNotExist(err) {
		e.t.Fatal(err)
	}
	var all []received
	for line := range strings.Lines(string(data)) {
		var r received
		if _, err := fmt.Sscan(line, &r.at, &r.pid, &r.role, &r.name); err != nil {
			e.t.Fatalf("signal %q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}
