//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// at is a moment of a trial that was made by hand.
func at(d time.Duration) instant { return instant(time.Hour + d) }

func beats(h *history, token uint64, candidate, role string, pid int, from, to time.Duration) {
	for _, d := range []time.Duration{from, to} {
		h.add(beat{at(d), pid, role, token, candidate})
	}
}

const (
	sec = time.Second
	ms  = time.Millisecond
)

// cleanTrial is one in which all went well: a led with token 7 until it was told to
// stop, b with token 9 until its supervisor was frozen and the deadline came.
func cleanTrial() *trial {
	h := newHistory("")
	beats(h, 7, "a", "main", 70, 1*sec, 10*sec)
	beats(h, 7, "a", "daemon", 71, 1*sec, 10*sec)
	beats(h, 9, "b", "main", 90, 10*sec+ms, 20*sec)
	beats(h, 11, "a", "main", 110, 22*sec, 30*sec)
	return &trial{
		store: "etcd", ttl: 4 * sec, outlives: 5 * sec, began: at(0), ended: at(30 * sec), history: h,
		guards: map[uint64]guardSeen{
			7:  {70, at(13 * sec), at(10 * sec), 15 * ms},
			9:  {91, at(20*sec - 2*ms), at(20*sec - 5*ms), 20 * ms},
			11: {111, at(33 * sec), at(30 * sec), 15 * ms},
		},
		holds: []hold{
			{"a", 7, at(1 * sec), at(10 * sec), at(10*sec + ms)},
			{"b", 9, at(10*sec + ms), at(21 * sec), at(21*sec + 50*ms)},
			{"a", 11, at(22 * sec), at(30 * sec), 0},
		},
		faults: []fault{
			{kind: "supervisor stopped by TERM", from: at(10 * sec), to: at(10 * sec), hits: []string{"a"}, leader: 7},
			{kind: "supervisor frozen", from: at(16 * sec), to: at(21 * sec), hits: []string{"b"}, leader: 9, mayEnd: true},
		},
		losses: []loss{{"b", 9, at(20 * sec), "frozen"}},
	}
}

// frozenTaken is a lock that was taken from a frozen holder, which is a said limit.
var frozenTaken = fault{kind: "lease revoked while frozen", from: at(15 * sec), to: at(16 * sec), hits: []string{"b"}, leader: 9, said: true, mayEnd: true}

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(tr *trial)
		breach string // all there may be; "" for none
		said   string
	}{
		"clean":                        {change: func(*trial) {}},
		"one millisecond":              {func(tr *trial) { beats(tr.history, 7, "a", "daemon", 71, 10*sec, 10*sec+2*ms); tr.holds = nil }, "token 9 began 1ms before the last beat of token 7", ""},
		"the same nanosecond":          {func(tr *trial) { beats(tr.history, 7, "a", "daemon", 71, 10*sec, 10*sec+ms) }, "token 9 began 0s before", ""},
		"token fell":                   {func(tr *trial) { beats(tr.history, 10, "c", "main", 100, 31*sec, 32*sec) }, "token 10 came after token 11", ""},
		"two for a token":              {func(tr *trial) { beats(tr.history, 11, "c", "daemon", 111, 25*sec, 26*sec) }, "candidates [a c]", ""},
		"two children":                 {func(tr *trial) { beats(tr.history, 11, "a", "main", 112, 25*sec, 26*sec) }, "main processes [110 112]", ""},
		"garbled":                      {func(tr *trial) { _, err := parseBeat("x"); tr.history.errs = []error{err} }, "want 5 fields", ""},
		"beat after deadline":          {func(tr *trial) { seen(tr, 9, 20*sec-251*ms) }, "token 9: the last beat came 251ms after the guard's deadline", ""},
		"within the margin":            {change: func(tr *trial) { seen(tr, 9, 20*sec-250*ms) }},
		"deadline moved blind":         {change: func(tr *trial) { tr.guards[9] = guardSeen{91, at(18 * sec), at(17 * sec), sec} }},
		"no deadline":                  {func(tr *trial) { seen(tr, 9, -time.Hour) }, "token 9: the guard 91 showed no deadline in 9.999s", ""},
		"no guard":                     {func(tr *trial) { delete(tr.guards, 9) }, "token 9: the guard 0 showed no deadline", ""},
		"deadline too far":             {func(tr *trial) { seen(tr, 11, 35*sec) }, "token 11: the guard's deadline is 5s ahead, with a lease of 4s", ""},
		"beat after deadline, stalled": {change: func(tr *trial) { seen(tr, 9, 20*sec-251*ms); stall(tr, 20*sec-100*ms, 20*sec-98*ms) }},
		"beat after deadline, stalled before": {
			func(tr *trial) { seen(tr, 9, 20*sec-251*ms); stall(tr, 19*sec, 20*sec-252*ms) },
			"token 9: the last beat came 251ms after the guard's deadline", "",
		},
		"no deadline, stalled":       {change: func(tr *trial) { seen(tr, 9, -time.Hour); stall(tr, 5*sec, 19*sec+ms) }},
		"no deadline, stalled a bit": {func(tr *trial) { seen(tr, 9, -time.Hour); stall(tr, 11*sec, 19*sec) }, "token 9: the guard 91 showed no deadline in 1.999s", ""},
		"too short to be seen": {change: func(tr *trial) {
			beats(tr.history, 10, "a", "main", 100, 20*sec+ms, 20*sec+900*ms)
			tr.holds = tr.holds[:1]
		}},
		"beat after gone":         {func(tr *trial) { tr.holds[1].gone = at(20*sec - ms) }, "token 9: the last beat came 1ms after the store had shown its lock to be gone", ""},
		"store's tokens":          {func(tr *trial) { tr.holds[2].token = 9 }, "the store showed token 9 (a) after token 9 (b)", ""},
		"store shows no token":    {change: func(tr *trial) { tr.holds[1].token = 0 }},
		"taken, dead at once":     {change: func(tr *trial) { take(tr, 20*sec-time.Second) }},
		"taken, dead too late":    {func(tr *trial) { take(tr, 20*sec-1600*ms) }, "token 9: the last beat came 1.6s after the store", ""},
		"taken, stalled":          {change: func(tr *trial) { take(tr, 20*sec-1600*ms); stall(tr, 19*sec, 19*sec+100*ms) }},
		"taken from a frozen one": {change: func(tr *trial) { take(tr, 17*sec) }, said: "the last beat came 3s after the store"},
		"nobody led":              {func(tr *trial) { tr.ended = at(30*sec + 8500*ms + ms) }, "nobody led for 8.501s, from 30s after the beginning on: 1ms longer", ""},
		"nobody led at first":     {func(tr *trial) { tr.began = at(-8 * sec) }, "nobody led for 9s", ""},
		"nobody could lead": {change: func(tr *trial) {
			tr.ended = at(41 * sec)
			add(tr, fault{kind: "store down", from: at(31 * sec), to: at(35 * sec)})
		}},
		"nobody led after that": {func(tr *trial) {
			tr.ended = at(44 * sec)
			add(tr, fault{kind: "store down", from: at(31 * sec), to: at(35 * sec)})
		}, "500ms longer than it may be", ""},
		"next one frozen":          {change: func(tr *trial) { tr.ended = at(42 * sec); add(tr, standbyFrozen(true)) }},
		"next one frozen briefly":  {func(tr *trial) { tr.ended = at(42 * sec); add(tr, standbyFrozen(false)) }, "1.5s longer than it may be", ""},
		"left":                     {func(tr *trial) { tr.left = []proc{{5, 1, "S", []string{"child"}}} }, "left running: pid 5 of 1, S, [child]", ""},
		"loss without a fault":     {func(tr *trial) { lose(tr, "a", 11, 29*sec) }, "needless: a lost token 11", ""},
		"loss without a child":     {change: func(tr *trial) { lose(tr, "a", 10, 21*sec) }},
		"loss by another's fault":  {func(tr *trial) { lose(tr, "c", 9, 20*sec) }, "needless: c lost", ""},
		"loss by a hiccup":         {func(tr *trial) { tr.faults[1].mayEnd = false }, "needless: b lost", ""},
		"loss right after a fault": {change: func(tr *trial) { lose(tr, "b", 9, 25*sec+250*ms) }},
		"loss long after a fault":  {func(tr *trial) { lose(tr, "b", 9, 25*sec+251*ms) }, "needless: b lost", ""},
		"loss by a fault of all":   {change: func(tr *trial) { tr.faults[1].hits = nil }},
		"said: overlap": {change: func(tr *trial) {
			add(tr, frozenTaken)
			beats(tr.history, 9, "b", "fork", 91, 20*sec, 20*sec+200*ms)
			overtake(tr)
		}, said: "lease revoked while frozen: token 10 began 100ms before"},
		"said: beat after deadline": {change: func(tr *trial) { add(tr, frozenTaken); seen(tr, 9, 19*sec) }, said: "the last beat came 1s after the guard's deadline"},
		"said: beat after gone":     {change: func(tr *trial) { add(tr, frozenTaken); tr.holds[1].gone = at(15 * sec) }, said: "lease revoked while frozen: token 9: the last beat came 5s after the store"},
		"said of another's tenure": {func(tr *trial) {
			f := frozenTaken
			f.leader, f.hits = 7, []string{"a"}
			add(tr, f)
			seen(tr, 9, 19*sec)
		}, "the last beat came 1s after the guard's", ""},
		"said explains no needless":   {func(tr *trial) { add(tr, frozenTaken); lose(tr, "a", 11, 29*sec) }, "needless: a lost", ""},
		"said explains no late child": {func(tr *trial) { add(tr, frozenTaken); tr.left = []proc{{pid: 5}} }, "left running", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tr := cleanTrial()
			c.change(tr)
			v := judge(tr)
			if !onlyOf(v.breaches, c.breach) || !onlyOf(v.said, c.said) {
				t.Errorf("want breach %q, said %q:\n%v", c.breach, c.said, v)
			}
		})
	}
}

// onlyOf tells whether errors are what was expected, one of it, or none of nothing.
func onlyOf(errs []error, want string) bool {
	if want == "" {
		return len(errs) == 0
	}
	return len(errs) == 1 && strings.Contains(errs[0].Error(), want)
}

func add(tr *trial, f fault) { tr.faults = append(tr.faults, f) }

func stall(tr *trial, from, to time.Duration) {
	tr.pauses = append(tr.pauses, pause{at(from), at(to)})
}

func lose(tr *trial, candidate string, token uint64, d time.Duration) {
	tr.losses = append(tr.losses, loss{candidate, token, at(d), "renewals failed"})
}

// seen changes what was seen of a guard's deadline; before the trial, that it had none.
func seen(tr *trial, token uint64, deadline time.Duration) {
	g := tr.guards[token]
	if g.deadline = at(deadline); deadline < 0 {
		g.deadline = 0
	}
	tr.guards[token] = g
}

// take takes the lock of token 9 by hand.
func take(tr *trial, d time.Duration) {
	add(tr, fault{kind: "lock key deleted", from: at(d - ms), to: at(d - ms), hits: []string{"b"}, leader: 9, mayEnd: true})
	tr.holds[1].gone = at(d)
	if d >= 18*sec {
		tr.faults[1].to = at(17 * sec) // no longer frozen by then
	}
}

// overtake lets another begin before token 9 has ended.
func overtake(tr *trial) {
	beats(tr.history, 10, "c", "main", 100, 20*sec+100*ms, 20*sec+300*ms)
	tr.holds = nil
}

func standbyFrozen(mayEnd bool) fault {
	return fault{kind: "standby frozen", from: at(32 * sec), to: at(34 * sec), hits: []string{"b"}, mayEnd: mayEnd}
}

// What the judge measures is what there was.
func TestJudgeMeasures(t *testing.T) {
	t.Parallel()
	tr := cleanTrial()
	beats(tr.history, 7, "a", "daemon", 71, 10*sec, 10*sec+4*ms)
	lose(tr, "a", 11, 29*sec)
	add(tr, fault{kind: "supervisor frozen", from: at(29*sec + ms), to: at(29*sec + 2*ms), hits: []string{"a"}, leader: 11})
	v := judge(tr)
	got := fmt.Sprint(v.overlap, v.late, v.vacancy, v.tenures, v.deadlines, v.needed, v.needless, v.faults["supervisor frozen"])
	if want := fmt.Sprint(3*ms, 2*ms, 2*sec-0*ms, 3, 3, 1, 1, 2); got != want {
		t.Errorf("measured %s, want %s:\n%v", got, want, v)
	}
	for _, want := range []string{"etcd: 3 faults, 3 tenures", "largest overlap: 3ms", "latest beat: 2ms after", "1 needless", "BREACH token 9 began 3ms"} {
		if !strings.Contains(v.String(), want) {
			t.Errorf("does not say %q:\n%v", want, v)
		}
	}
}
