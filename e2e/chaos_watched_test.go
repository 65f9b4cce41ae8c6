//go:build linux

package e2e

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A stand watches an election for a trial.
type stand struct {
	*election
	tr     *trial
	guards *guardWatcher
	holds  *holdWatcher
}

func (e *election) stand(ttl time.Duration) *stand {
	e.t.Helper()
	tr := &trial{store: e.store.name, ttl: ttl, outlives: e.store.outlives(ttl), began: now(), history: e.history}
	return &stand{e, tr, watchGuards(e), watchHolds(e)}
}

// verdict ends the trial.
func (s *stand) verdict() verdict {
	s.t.Helper()
	s.tr.ended = now()
	s.tr.guards, s.tr.holds = s.guards.stop(), s.holds.stop()
	s.history.read(s.t)
	v := judge(s.tr)
	s.t.Logf("%v", v)
	return v
}

// The watchers see what the log and the beats tell: who holds the lock, until when,
// and the deadline, which stands still while its supervisor is frozen.
func TestWatchers(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t, ttl := s.t, s.lease(3*time.Second)
		e := newElection(t, s)
		st := e.stand(ttl)
		wild := spec{ttl: ttl, command: e.wild(), flags: []string{"--stop-timeout", "300ms"}}
		a, b, first := e.pair(wild, wild, everyRole...)
		renewed(ttl)
		told := now()
		a.signal(t, unix.SIGTERM)
		second := e.leads(b, first, everyRole...)
		renewed(ttl)
		frozen := freeze(t, b.pid)
		c := e.start(spec{id: "c", ttl: ttl})
		third := e.leads(c, second)
		kill(t, unix.SIGCONT, b.pid)
		st.tr.faults = []fault{
			{kind: "TERM", from: told, to: told, hits: []string{"a"}, leader: first.token},
			{kind: "frozen", from: frozen, to: now(), hits: []string{"b"}, leader: second.token, mayEnd: true},
		}
		pass(200 * time.Millisecond)
		v := st.verdict()
		if len(v.breaches)+len(v.said) > 0 {
			t.Error("not a clean trial")
		}
		for i, n := range []*tenure{first, second, third} {
			g := st.tr.guards[n.token]
			if g.pid == 0 || g.deadline <= n.first || g.deadline > g.seen.add(ttl) || g.gap > time.Second {
				t.Errorf("token %d: seen of its guard: %+v", n.token, g)
			}
			if len(st.tr.holds) != 3 {
				t.Fatalf("holds %+v, want one for each of 3 tenures", st.tr.holds)
			}
			h := st.tr.holds[i]
			if h.token != n.token || h.candidate != n.candidates[0] || h.last < h.seen.add(-askBound) || (h.gone == 0) != (n == third) {
				t.Errorf("the store showed %+v, want token %d of %s", h, n.token, n.candidates[0])
			}
			if h.gone != 0 && h.gone < n.last {
				t.Errorf("token %d: its lock was gone %v before its last beat", n.token, n.last.since(h.gone))
			}
		}
		// Of a guard that could not renew the deadline is known exactly.
		if g := st.tr.guards[second.token]; g.deadline < frozen || g.deadline > frozen.add(ttl) || second.last < g.deadline.add(-sec) {
			t.Errorf("frozen at %v, deadline %v later, dead %v after that", frozen, g.deadline.since(frozen), second.last.since(g.deadline))
		}
	})
}

// A hole in the asking makes no statement: what was not answered is not gone, and what
// another answer shows is gone only when that came.
func TestHoldsWithHoles(t *testing.T) {
	t.Parallel()
	w := &holdWatcher{}
	a, b := shown{"a", 7}, shown{"b", 9}
	w.note(shown{}, 1, 2)
	w.note(a, 10, 12)
	w.note(a, 20, 22)
	w.note(b, 90, 95) // nobody answered in between
	w.note(shown{}, 100, 101)
	w.note(shown{}, 110, 111)
	w.note(b, 120, 121)
	want := []hold{{"a", 7, 12, 20, 95}, {"b", 9, 95, 90, 101}, {"b", 9, 121, 120, 0}}
	if len(w.holds) != len(want) {
		t.Fatalf("holds %v, want %v", w.holds, want)
	}
	for i, h := range w.holds {
		if h != want[i] {
			t.Errorf("hold %v, want %v", h, want[i])
		}
	}
}
