//go:build unix

package supervisor

import (
	"time"

	"leaderrun/supervisor/guard"
)

// repeat runs the ticks of a schedule, one after the other, until the tenure is over.
func (t *tenure) repeat() ending {
	ts, err := t.readTicks()
	if err != nil {
		return t.unrecorded(err)
	}
	if !t.onElected() {
		return t.abandoned()
	}
	t.Listen(Event{Kind: TickKnown, Token: t.lease.Token(), Tick: ts.lastRun().Name})
	t.tellExhausted(ts)
	for seen := t.Job.Schedule.Latest(wallNow()); ; {
		tick, wait := t.Job.due(ts, wallNow(), &seen)
		if wait > 0 {
			if !t.wait(wait) {
				return t.abandoned()
			}
			continue
		}
		var res guard.Result
		if ts, res, err = t.tick(ts, tickName(tick), tick); err != nil {
			return t.unrecorded(err)
		}
		end, over := t.over(res)
		if out := childEnded(res); out.Interrupt {
			end, over = ends(out, t.why(res)), true
		}
		if over {
			return end
		}
		if _, again := t.Job.owed(ts); again && !t.wait(time.Duration(ts.lastRun().Attempt)*time.Second) {
			return t.abandoned()
		}
	}
}

// due returns the tick to run at this time or, if there is none, how long to wait before it
// is asked again. To run is what the latest attempt has left; then the latest tick
// that has come up since seen, however late we are; then the latest one before we
// led, if it is within the tolerance for clocks, or CatchUp.
func (j *Job) due(ts Ticks, now time.Time, seen *time.Time) (tick time.Time, wait time.Duration) {
	s := j.Schedule
	if tick, ok := j.owed(ts); ok {
		return tick, 0
	}
	tick = s.Latest(now)
	come := tick.After(*seen) || now.Sub(tick) <= max(j.CatchUp, s.Tolerance(now))
	*seen = tick
	if come && ts.find(tickName(tick)).State == "" {
		return tick, 0
	}
	// A second at most: the wall clock may be set meanwhile.
	return tick, min(time.Second, max(time.Millisecond, s.Next(now).Sub(now)))
}

// owed is the tick that was started last if that did not finish and is to be run again.
func (j *Job) owed(ts Ticks) (tick time.Time, ok bool) {
	last := ts.lastRun()
	at, err := time.Parse(time.RFC3339Nano, last.Name)
	if j.Schedule == nil || err != nil || !j.Schedule.Latest(at).Equal(at) { // a key, or of another schedule
		return time.Time{}, false
	}
	v, _, _ := j.judge(ts, last.Name, nil)
	return j.Schedule.Latest(at), v == toRun
}

// lastRun is the tick that was started last; its Name is "" if there is none.
func (ts Ticks) lastRun() Tick {
	for i := len(ts) - 1; i >= 0; i-- {
		if ts[i].State != StateSkipped {
			return ts[i]
		}
	}
	return Tick{}
}

// tellExhausted says that the latest tick, which did not finish, is not run again.
func (t *tenure) tellExhausted(ts Ticks) {
	if last := ts.lastRun(); last.Name != "" {
		if v, _, why := t.Job.judge(ts, last.Name, nil); v == refused {
			t.Listen(Event{Kind: TickSkipped, Token: t.lease.Token(), Tick: last.Name, Cause: why})
		}
	}
}
