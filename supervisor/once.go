//go:build unix

package supervisor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"leaderrun/lock"
	"leaderrun/supervisor/guard"
)

// once runs the caller's tick, unless the records say that there is no need; and before
// it one that was interrupted and whose callers have all gone, as after an outage.
func (t *tenure) once() ending {
	ts, err := t.readTicks()
	if err != nil {
		return t.unrecorded(err)
	}
	name := t.call.name
	if over := t.Job.over(ts, name, nil); over != nil {
		return ends(t.say(over), "")
	}
	if ts.find(name).State == "" && t.call.late() {
		return ends(t.say(skipped(-1, nextIsDue)), "")
	}
	t.about = variables(t.call.tick, ts.find(name).Attempt+1)
	if !t.onElected() {
		return t.abandoned()
	}
	var res guard.Result
	if owed, ok := t.Job.owed(ts); ok && tickName(owed) != name {
		if ts, res, err = t.tick(ts, tickName(owed), owed); err != nil {
			return t.unrecorded(err)
		}
		end, over := t.over(res)
		_, again := t.Job.owed(ts)
		switch out := childEnded(res); {
		case t.told != 0:
			return t.abandoned()
		case over:
			return end
		case out.Interrupt:
			return ends(out, t.why(res))
		case again && !t.Candidate.Try:
			t.giveUp(fmt.Sprintf("the command failed with status %d", res.ExitCode()))
			return ending{last: t.cause}
		}
	}
	if ts, res, err = t.tick(ts, name, t.call.tick); err != nil {
		return t.unrecorded(err)
	}
	out, rec := childEnded(res), ts.find(name)
	end, over := t.over(res)
	switch {
	case over && rec.State != StateFinished:
		return end
	case out.Interrupt, rec.State != StateFailed, t.Job.Rerun != RerunFailed, rec.Attempt >= t.Job.Attempts, t.Candidate.Try:
		return ends(out, t.why(res))
	}
	t.giveUp(fmt.Sprintf("the command failed with status %d", res.ExitCode()))
	return ending{last: t.cause}
}

// unrecorded is the end of a tenure in which the records could not be read or
// written, so that nothing was started.
func (t *tenure) unrecorded(err error) ending {
	last := "records: " + err.Error()
	switch {
	case t.told != 0, t.givingUp:
		return t.abandoned()
	case errors.Is(err, lock.ErrConfig), errors.Is(err, lock.ErrDenied):
		return ends(Outcome{End: Failed, Err: err}, last)
	case t.lease.Err() == nil:
		t.Listen(Event{Kind: Warning, Token: t.lease.Token(), Err: err})
	}
	return ending{last: last}
}

// tick makes one attempt at a tick and records its start before, and its end after.
// It returns the records, which are those in the store unless the end could not be
// written. An error means that nothing was started.
func (t *tenure) tick(ts Ticks, name string, due time.Time) (Ticks, guard.Result, error) {
	_, most := t.Job.value()
	startedAt := wallNow()
	rec := Tick{
		Name: name, State: StateStarted, Attempt: ts.find(name).Attempt + 1,
		Candidate: clip(t.Candidate.ID), Token: t.lease.Token(), Start: startedAt.UTC().Truncate(time.Second),
	}
	if !t.wait(0) {
		return ts, guard.Result{}, lock.ErrLost
	}
	if err := t.guard.Ping(); err != nil { // before an attempt is counted that cannot begin
		return ts, guard.Result{}, err
	}
	began := ts.with(rec, most)
	err := t.writeTicks(began)
	if t.told != 0 { // it may be written, or come to be
		if err := t.writeEnd(name, ts); err != nil {
			t.Listen(Event{Kind: TickUnrecorded, Token: rec.Token, Tick: name, Err: err})
		}
		return ts, guard.Result{}, lock.ErrLost
	}
	if err != nil {
		return ts, guard.Result{}, err
	}
	t.about = variables(due, rec.Attempt)
	t.Listen(Event{Kind: TickBegan, Token: rec.Token, Tick: name, Attempt: rec.Attempt})
	res := t.child(t.about...)
	done := ts // what was not started was no attempt: another host may be able to
	if res.Cause != guard.NotStarted {
		_, over := t.over(res)
		rec.Status = res.ExitCode()
		rec.State = ended(rec.Status, over)
		rec.End = wallNow().UTC().Truncate(time.Second)
		done = began
		if late := t.skippedSince(startedAt, name); late != "" && began.find(late).State == "" {
			t.Listen(Event{Kind: TickSkipped, Tick: late, Cause: "tick " + name + " was still running"})
			done = done.with(Tick{Name: late, State: StateSkipped}, most)
		}
		done = done.with(rec, most)
		t.Listen(Event{Kind: TickEnded, Token: rec.Token, Tick: name, Attempt: rec.Attempt, State: rec.State, Status: rec.Status})
	}
	if err := t.writeEnd(name, done); err != nil {
		t.Listen(Event{Kind: TickUnrecorded, Token: rec.Token, Tick: name, Err: err})
	}
	return done, res, nil
}

// variables tell a command, and the hooks, about the tick; due is zero for a key.
func variables(due time.Time, attempt int) []string {
	list := []string{fmt.Sprintf("LEADERRUN_ATTEMPT=%d", attempt)}
	if !due.IsZero() {
		list = append(list, "LEADERRUN_TICK="+due.Format(time.RFC3339Nano))
	}
	return list
}

// skippedSince names the latest tick that has come up since then, while the command
// of the tick of this name ran, if any. Earlier ones have had their callers, if any, who
// saw it running; ours is to be run.
func (t *tenure) skippedSince(then time.Time, name string) string {
	s := t.Job.Schedule
	if s == nil {
		return ""
	}
	now := s.Latest(wallNow())
	if late := tickName(now); now.After(s.Latest(then)) && late != name && late != t.call.name {
		return late
	}
	return ""
}

// clip shortens a candidate's name to what the records hold.
func clip(id string) string {
	return strings.ToValidUTF8(id[:min(len(id), maxTickCandidate)], "")
}
