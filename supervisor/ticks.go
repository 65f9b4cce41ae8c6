//go:build unix

package supervisor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"leaderrun/lock"
	"leaderrun/supervisor/schedule"
)

// A Job is work that is recorded in the store, tick by tick, so that a tick is
// run once by whoever comes first. The zero Job is none.
type Job struct {
	// Key: run once for that, ever. Else Schedule says when the job is due:
	// once for the tick that this call is for or, with Repeat, tick after tick.
	Key      string
	Schedule *schedule.Schedule
	Repeat   bool

	Rerun    Rerun
	Attempts int           // starts of one tick, in all
	CatchUp  time.Duration // Repeat: run the latest tick that was missed if it is no older
}

// recorded reports whether there is a job.
func (j *Job) recorded() bool { return j.Key != "" || j.Schedule != nil }

// A Rerun says which ticks are run again.
type Rerun string

// The values of Rerun, each including the ones before.
const (
	RerunNever       Rerun = "never"
	RerunInterrupted Rerun = "interrupted"
	RerunFailed      Rerun = "failed"
)

// A TickState is how the latest attempt at a tick stands.
type TickState string

// The states of a tick. What is started by a tenure that is over is interrupted.
const (
	StateStarted     TickState = "started"
	StateFinished    TickState = "finished"    // the command exited with 0
	StateFailed      TickState = "failed"      // it ended otherwise, by itself
	StateInterrupted TickState = "interrupted" // it was stopped by us, or nobody saw its end
	StateSkipped     TickState = "skipped"     // due while an earlier tick was still running
)

// A Tick is what the store knows of one tick, or of one key of --once-for.
type Tick struct {
	Name      string     `json:"tick"` // the due time as RFC 3339 in UTC, or the key
	State     TickState  `json:"state"`
	Attempt   int        `json:"attempt,omitempty"`   // counted from 1
	Candidate string     `json:"candidate,omitempty"` // of the latest attempt, as the next three; at most maxTickCandidate bytes
	Token     lock.Token `json:"token,omitempty"`
	Status    int        `json:"status,omitempty"` // 128+N for signal N
	Start     time.Time  `json:"start,omitzero"`   // wall clock of the candidate: for people only
	End       time.Time  `json:"end,omitzero"`
}

// Ticks are the records of an election, the latest written last. They are told
// apart by name alone: which is newer is not asked, because a host whose clock
// is a year ahead would silence all the others.
type Ticks []Tick

// What is kept: by name and candidate bounded so that it fits a value of every
// store (Consul: 512 KB, the whole request encoded).
const (
	maxTicks         = 100
	maxKeys          = 1000
	maxTickCandidate = 64
	// MaxKey is the longest key of --once-for, in bytes.
	MaxKey = 64
)

// Names of the values beside the lock.
const (
	TicksValue = "ticks"
	KeysValue  = "keys"
)

// DecodeTicks parses what Encode made; nil is no ticks.
func DecodeTicks(b []byte) (Ticks, error) {
	if b == nil {
		return nil, nil
	}
	var ts Ticks
	if err := json.Unmarshal(b, &ts); err != nil {
		return nil, fmt.Errorf("%w: decode ticks: %w", lock.ErrConfig, err)
	}
	return ts, nil
}

// Encode is the inverse of DecodeTicks.
func (ts Ticks) Encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // takes six bytes for one
	if err := e.Encode(ts); err != nil {
		panic(err) // strings, numbers and times
	}
	return b.Bytes()
}

// find returns the record of a tick; its State is "" if there is none.
func (ts Ticks) find(name string) Tick {
	for _, t := range ts {
		if t.Name == name {
			return t
		}
	}
	return Tick{Name: name}
}

// with returns the ticks with t as the latest, without the oldest above most.
func (ts Ticks) with(t Tick, most int) Ticks {
	all := append(slices.DeleteFunc(slices.Clone(ts), func(o Tick) bool { return o.Name == t.Name }), t)
	return all[max(0, len(all)-most):]
}

// running returns the tick that the tenure of this token has under way, if any.
func (ts Ticks) running(token lock.Token) (t Tick, ok bool) {
	for _, t := range ts {
		if token != 0 && t.State == StateStarted && t.Token == token {
			return t, true
		}
	}
	return Tick{}, false
}

func tickName(tick time.Time) string { return tick.UTC().Format(time.RFC3339Nano) }

// value names the store's value of the job's records, and how many it keeps.
func (j *Job) value() (key string, most int) {
	if j.Key != "" {
		return KeysValue, maxKeys
	}
	return TicksValue, maxTicks
}

// A verdict is what a tick's records ask of somebody who was called for it.
type verdict int

const (
	toRun   verdict = iota // now, by who leads
	toWait                 // it is running elsewhere
	settled                // it will not be run again, and all is as the caller wants it
	refused                // it will not be run again, or not by this caller
)

// judge decides on a tick from the records, and says why. Others are those who lead
// now, if it is not the caller: what they have started is running, or may have
// ended since, of which only who leads can be certain. status is that of a caller
// who is refused, -1 if no record has one.
func (j *Job) judge(ts Ticks, name string, others *lock.Holder) (v verdict, status int, why string) {
	t := ts.find(name)
	busy, isBusy := Tick{}, false
	if others != nil {
		busy, isBusy = ts.running(others.Token)
	}
	switch {
	case t.State != StateStarted || isBusy && busy.Name == name:
	case others != nil:
		return toRun, 0, ""
	default:
		t.State, t.Status = StateInterrupted, -1
	}
	rerun := t.State == StateInterrupted && j.Rerun != RerunNever || t.State == StateFailed && j.Rerun == RerunFailed
	switch {
	case t.State == StateFinished:
		return settled, 0, "finished by " + t.Candidate
	case t.State == StateStarted:
		return toWait, 0, "running at " + t.Candidate
	case t.State == StateSkipped:
		return refused, -1, "an earlier tick was still running"
	case t.State == StateFailed && j.Rerun != RerunFailed:
		return settled, 0, fmt.Sprintf("failed at %s with status %d", t.Candidate, t.Status)
	case t.State == StateInterrupted && !rerun:
		return refused, t.Status, "interrupted at " + t.Candidate + ", and --rerun never"
	case rerun && t.Attempt >= j.Attempts:
		return refused, t.Status, fmt.Sprintf("%s after %d attempts, as many as --attempts allows", t.State, t.Attempt)
	case isBusy && t.State == "" && j.Key == "" && busy.Attempt == 1: // not one that is owed (see once)
		return refused, -1, fmt.Sprintf("tick %s is still running at %s", busy.Name, busy.Candidate)
	case isBusy:
		return toWait, 0, fmt.Sprintf("%s is running at %s", busy.Name, busy.Candidate)
	}
	return toRun, 0, ""
}

// ended is the state of a tick whose command ended with this status, by itself
// or because we stopped it.
func ended(status int, byUs bool) TickState {
	switch {
	case status == 0:
		return StateFinished
	case byUs:
		return StateInterrupted
	}
	return StateFailed
}
