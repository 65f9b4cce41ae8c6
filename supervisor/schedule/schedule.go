// Package schedule says when a repeated job is due: pure functions of time. Hosts that parse the same period in the same
// zone, with the same zone data, name the same due times ("ticks").
//
// A duration is due at its multiples since the Unix epoch, whatever the zone: where clocks are half an hour off UTC, 1h is
// due at half past.
//
// Five cron fields are due when Debian's cron would start the job (3.0pl1-162: entry.c, cron.c, and cron(8) on changed clocks):
//   - Fixed times, with neither minute nor hour beginning with '*', are due when the wall clock first reaches them: what the
//     clocks skip, at the end of the gap, and once for all that is skipped; what they repeat, the first time only. (Debian's
//     cron does so for changes of up to 3 hours, this package for all, as when a zone crosses the date line.)
//   - Wildcards, such as '*/15 * * * *', '0 */2 * * *' and @hourly, are due whenever the wall clock shows them: in both passes
//     of a repeated hour, and not at all in a gap.
//   - Day of month and day of week both have to match if one of them begins with '*' (as '*/2' does), otherwise either.
//
// The fields are read here and not by github.com/robfig/cron, which knows no 7 for Sunday, takes '*/2' for no star, and
// reads 5/10 and ?, which Debian's cron refuses.
package schedule

import (
	"math"
	"time"
)

// A Schedule is the due times ("ticks") of a repeated job.
type Schedule struct {
	zone     *time.Location
	every    time.Duration // zero: the fields say
	fields   fields
	wildcard bool // minute or hour begin with '*'
}

// Latest returns the latest due time not later than t, in the schedule's zone. t is from 1700 to 2200, when nanoseconds since
// the Unix epoch still fit their type.
func (s *Schedule) Latest(t time.Time) time.Time {
	if s.every != 0 {
		return t.Round(0).Add(-s.sinceDue(t)).In(s.zone)
	}
	if !s.wildcard {
		wall, _ := s.fields.before(s.reached(t.Unix()), -forever)
		return s.at(s.reach(wall))
	}
	for now := t.Unix(); ; {
		p := s.period(now)
		if wall, ok := s.fields.before(now+p.offset, p.start+p.offset); ok {
			return s.at(wall - p.offset)
		}
		now = p.start - 1
	}
}

// Next returns the first due time after t, in the schedule's zone, for the same t.
func (s *Schedule) Next(t time.Time) time.Time {
	if s.every != 0 {
		return t.Round(0).Add(s.every - s.sinceDue(t)).In(s.zone)
	}
	next, _ := s.next(t.Unix(), forever)
	return s.at(next)
}

// Tick returns the due time that a call at t is meant for: the latest one not later than t + min(period/10, 30 s), where
// period is the time between the due times around t. Clocks that are apart, or stepped back, by less name the same one.
func (s *Schedule) Tick(t time.Time) time.Time {
	return s.Latest(t.Add(s.Tolerance(t)))
}

// Tolerance is what Tick allows clocks to be apart.
func (s *Schedule) Tolerance(t time.Time) time.Duration {
	return min(s.Next(t).Sub(s.Latest(t))/10, 30*time.Second)
}

// sinceDue is the time that has passed at t since the multiple of a duration before it.
func (s *Schedule) sinceDue(t time.Time) time.Duration {
	since := time.Duration(t.UnixNano()) % s.every
	if since < 0 {
		since += s.every
	}
	return since
}

// next returns the first second after now at which the fields are due; false if there is none up to limit. From here on
// times are seconds: instants since the Unix epoch, or what a wall clock shows, counted as if it showed UTC.
func (s *Schedule) next(now, limit int64) (int64, bool) {
	if !s.wildcard {
		wall, ok := s.fields.after(s.reached(now)+1, limit)
		if !ok {
			return 0, false
		}
		return s.reach(wall), true
	}
	for now++; now < limit; {
		p := s.period(now)
		if wall, ok := s.fields.after(now+p.offset, min(p.end, limit)+p.offset); ok {
			return wall - p.offset, true
		}
		now = p.end
	}
	return 0, false
}

func (s *Schedule) at(now int64) time.Time { return time.Unix(now, 0).In(s.zone) }

// day bounds all differences between clocks; the offsets from UTC are a little smaller.
const day = 24 * 60 * 60

// reached returns the latest time that the wall clock has shown until now.
func (s *Schedule) reached(now int64) int64 {
	p := s.period(now)
	wall := now + p.offset
	for p.start > now-2*day {
		p = s.period(p.start - 1)
		wall = max(wall, p.end-1+p.offset)
	}
	return wall
}

// reach returns the first second at which the wall clock shows wall or more.
func (s *Schedule) reach(wall int64) int64 {
	for now := wall - 2*day; ; {
		p := s.period(now)
		if now = max(now, wall-p.offset); now < p.end {
			return now
		}
		now = p.end
	}
}

const forever = math.MaxInt64 / 2 // leaves room for an offset

// A period is a time from start until before end in which the wall clock is at one offset from UTC.
type period struct{ start, end, offset int64 }

func (s *Schedule) period(now int64) period {
	t := s.at(now)
	start, end := t.ZoneBounds()
	_, offset := t.Zone()
	p := period{start: -forever, end: forever, offset: int64(offset)}
	if !start.IsZero() {
		p.start = start.Unix()
	}
	if !end.IsZero() {
		p.end = end.Unix()
	}
	if p.end <= now { // beyond the zone's table, Go ends leap years a day early (time.tzset counts 365 days)
		p.end = now - now%day + day
	}
	return p
}
