//go:build linux

package supervisor

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"leaderrun/lock"
	"leaderrun/supervisor/schedule"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	const mine, other lock.Token = 7, 8
	at := func(state TickState, attempt, status int, token lock.Token) Tick {
		return Tick{Name: "T", State: state, Attempt: attempt, Status: status, Token: token, Candidate: "a"}
	}
	busy := Tick{Name: "S", State: StateStarted, Attempt: 1, Token: other, Candidate: "b"}
	leads := func(token lock.Token) *lock.Holder { return &lock.Holder{Token: token} }
	for _, c := range []struct {
		name   string
		job    Job
		ticks  Ticks
		others *lock.Holder
		v      verdict
		status int
	}{
		{"never started", Job{}, nil, nil, toRun, 0},
		{"finished", Job{}, Ticks{at(StateFinished, 1, 0, mine)}, nil, settled, 0},
		{"finished, seen from outside", Job{}, Ticks{at(StateFinished, 1, 0, mine)}, leads(other), settled, 0},
		{"failed", Job{}, Ticks{at(StateFailed, 1, 3, mine)}, nil, settled, 0},
		{"failed, to be run again", Job{Rerun: RerunFailed}, Ticks{at(StateFailed, 2, 3, mine)}, nil, toRun, 0},
		{"failed too often", Job{Rerun: RerunFailed}, Ticks{at(StateFailed, 3, 5, mine)}, nil, refused, 5},
		{"interrupted", Job{}, Ticks{at(StateInterrupted, 1, 143, mine)}, nil, toRun, 0},
		{"interrupted, at most once", Job{Rerun: RerunNever}, Ticks{at(StateInterrupted, 1, 143, mine)}, nil, refused, 143},
		{"interrupted too often", Job{}, Ticks{at(StateInterrupted, 3, 143, mine)}, nil, refused, 143},
		{"its end was not recorded", Job{}, Ticks{at(StateStarted, 1, 0, mine)}, nil, toRun, 0},
		{"its end was not recorded, at most once", Job{Rerun: RerunNever}, Ticks{at(StateStarted, 1, 0, mine)}, nil, refused, -1},
		{"its end was not recorded, too often", Job{}, Ticks{at(StateStarted, 3, 0, mine)}, nil, refused, -1},
		{"running elsewhere", Job{}, Ticks{at(StateStarted, 1, 0, other)}, leads(other), toWait, 0},
		// Its end may be recorded since: who leads will know.
		{"started by who does not lead", Job{Rerun: RerunNever}, Ticks{at(StateStarted, 1, 0, mine)}, leads(other), toRun, 0},
		{"started, and nobody leads", Job{Rerun: RerunNever}, Ticks{at(StateStarted, 1, 0, mine)}, leads(0), toRun, 0},
		{"an earlier one is running", Job{}, Ticks{busy}, leads(other), refused, -1},
		{"an owed one is running", Job{}, Ticks{{Name: "S", State: StateStarted, Attempt: 2, Token: other}}, leads(other), toWait, 0},
		{"an earlier one was running", Job{}, Ticks{busy}, leads(mine), toRun, 0},
		{"interrupted before the one that runs", Job{}, Ticks{at(StateInterrupted, 1, 0, mine), busy}, leads(other), toWait, 0},
		{"another key is running", Job{Key: "T"}, Ticks{busy}, leads(other), toWait, 0},
		{"skipped", Job{}, Ticks{at(StateSkipped, 0, 0, 0)}, nil, refused, -1},
	} {
		c.job.Attempts = 3
		v, status, why := c.job.judge(c.ticks, "T", c.others)
		if v != c.v || v == refused && status != c.status {
			t.Errorf("%s: verdict %d, status %d (%s), want %d, %d", c.name, v, status, why, c.v, c.status)
		}
		if (why == "") != (v == toRun) {
			t.Errorf("%s: verdict %d because of %q", c.name, v, why)
		}
	}
}

// What is kept fits a value of Consul, 512 KB of which base64 takes a third, and the
// oldest written go first, whatever their names say.
func TestTicksAreBounded(t *testing.T) {
	t.Parallel()
	var ts Ticks
	for i := range maxKeys + 10 {
		key := fmt.Sprintf("%0*d", MaxKey, maxKeys+10-i)
		ts = ts.with(Tick{
			Name: key, State: StateInterrupted, Attempt: 1 << 30, Candidate: clip(strings.Repeat("<", 200)), Token: 1 << 63,
			Status: 255, Start: time.Now().UTC().Truncate(time.Second), End: time.Now().UTC().Truncate(time.Second),
		}, maxKeys)
	}
	if n := len(ts.Encode()); len(ts) != maxKeys || n > 380<<10 {
		t.Errorf("%d keys in %d bytes", len(ts), n)
	}
	if ts.find(fmt.Sprintf("%0*d", MaxKey, maxKeys+10)).State != "" || ts.find(fmt.Sprintf("%0*d", MaxKey, 1)).State == "" {
		t.Error("the latest written are not what is left")
	}
	again, err := DecodeTicks(ts.Encode())
	if err != nil || !cmp.Equal(ts, again) {
		t.Errorf("decoded otherwise: %v: %s", err, cmp.Diff(ts, again))
	}
	if _, err := DecodeTicks([]byte("{}")); err == nil {
		t.Error("took what is no list of ticks")
	}
	if ts, err := DecodeTicks(nil); err != nil || ts != nil {
		t.Errorf("no value: %v, %v", ts, err)
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	if got := clip(strings.Repeat("a", 63) + "ä"); got != strings.Repeat("a", 63) {
		t.Errorf("clipped to %q", got)
	}
	if got := clip("host/1"); got != "host/1" {
		t.Errorf("clipped to %q", got)
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	s, err := schedule.ParseAny("1m", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	name := func(after time.Duration) string { return tickName(base.Add(after)) }
	job := Job{Schedule: s, Repeat: true, Rerun: RerunInterrupted, Attempts: 3}
	for _, c := range []struct {
		name    string
		now     time.Duration // after base
		seen    time.Duration
		catchUp time.Duration
		ticks   Ticks
		run     string // the tick to run now, or ""
	}{
		{"nothing yet", 20 * time.Second, 0, 0, nil, ""},
		{"a tick came up", time.Minute, 0, 0, nil, name(time.Minute)},
		{"a tick came up, and we are late", 110 * time.Second, 0, 0, nil, name(time.Minute)},
		{"some came up: the latest", 190 * time.Second, 0, 0, nil, name(3 * time.Minute)},
		{"a tick came up that another clock ran", time.Minute, 0, 0, Ticks{{Name: name(time.Minute), State: StateFinished}}, ""},
		{"elected within the tolerance", 5 * time.Second, 0, 0, nil, name(0)},
		{"elected later", 7 * time.Second, 0, 0, nil, ""},
		{"elected later, catching up", 29 * time.Second, 0, 30 * time.Second, nil, name(0)},
		{"elected too late to catch up", 31 * time.Second, 0, 30 * time.Second, nil, ""},
		{"catching up what is done", 29 * time.Second, 0, time.Hour, Ticks{{Name: name(0), State: StateFinished}}, ""},
		{"catching up what was skipped", 29 * time.Second, 0, time.Hour, Ticks{{Name: name(0), State: StateSkipped}}, ""},
		{"what was interrupted, however old", 20 * time.Second, 0, 0, Ticks{{Name: name(-time.Hour), State: StateInterrupted, Attempt: 1}}, name(-time.Hour)},
		{"what was skipped after it was interrupted", 20 * time.Second, 0, 0, Ticks{
			{Name: name(-time.Minute), State: StateInterrupted, Attempt: 1}, {Name: name(0), State: StateSkipped},
		}, name(-time.Minute)},
		{"interrupted too often", 20 * time.Second, 0, 0, Ticks{{Name: name(-time.Hour), State: StateInterrupted, Attempt: 3}}, ""},
		{"interrupted, but of another schedule", 20 * time.Second, 0, 0, Ticks{{Name: name(-time.Second), State: StateInterrupted, Attempt: 1}}, ""},
		{"failed", 20 * time.Second, 0, 0, Ticks{{Name: name(0), State: StateFailed, Attempt: 1}}, ""},
		{"clock set back", -time.Hour + 20*time.Second, 0, 0, nil, ""},
	} {
		job.CatchUp = c.catchUp
		seen := base.Add(c.seen)
		tick, wait := job.due(c.ticks, base.Add(c.now), &seen)
		got := ""
		if wait == 0 {
			got = tickName(tick)
		} else if wait > time.Second {
			t.Errorf("%s: waits %v without a look at the clock", c.name, wait)
		}
		if got != c.run {
			t.Errorf("%s: runs %q, want %q", c.name, got, c.run)
		}
	}
}

func TestRestarts(t *testing.T) {
	t.Parallel()
	r := &restarts{limit: 4, pause: firstRestart, started: time.Now()}
	var pauses []time.Duration
	pause, ok := r.after(1)
	for ; ok; pause, ok = r.after(1) {
		pauses = append(pauses, pause)
	}
	if want := []time.Duration{firstRestart, 2 * firstRestart, 4 * firstRestart}; !cmp.Equal(pauses, want) {
		t.Errorf("paused %v before the limit, want %v", pauses, want)
	}
	r = &restarts{limit: 2, pause: firstRestart, started: time.Now()}
	if _, ok := r.after(1); !ok {
		t.Error("gave up at the first failure of two")
	}
	r.started = time.Now().Add(-stableAfter)
	if pause, ok := r.after(1); !ok || pause != firstRestart {
		t.Errorf("a stable minute left a pause of %v, %v", pause, ok)
	}
	if _, ok := r.after(0); !ok || r.failures != 0 {
		t.Error("a success counts as a failure")
	}
	for range 20 {
		if pause, _ = r.after(0); pause > lastRestart {
			t.Errorf("pauses %v", pause)
		}
	}
}

func FuzzDecodeTicks(f *testing.F) {
	f.Add([]byte(`[{"tick":"v1","state":"finished","attempt":1}]`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ts, err := DecodeTicks(b)
		if err != nil {
			return
		}
		again, err := DecodeTicks(ts.Encode())
		if err != nil || !bytes.Equal(again.Encode(), ts.Encode()) {
			t.Errorf("%q is not the same again: %v", b, err)
		}
	})
}
