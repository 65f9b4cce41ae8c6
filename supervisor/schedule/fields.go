package schedule

import "time"

// A set has bit n set for the number n.
type set uint64

func (s set) has(n int) bool { return s&(1<<n) != 0 }

// fields are the five fields of crontab(5), matched against a wall clock.
type fields struct {
	minute, hour, day, month, weekday set
	bothDays                          bool // day and weekday have to match, not either
}

func (f fields) onDay(t time.Time) bool {
	day, weekday := f.day.has(t.Day()), f.weekday.has(int(t.Weekday()))
	if f.bothDays {
		return day && weekday
	}
	return day || weekday
}

// after returns the first matching time from wall on and before limit.
func (f fields) after(wall, limit int64) (int64, bool) {
	t := time.Unix(wall+59, 0).UTC().Truncate(time.Minute)
	for t.Unix() < limit {
		year, month, day := t.Date()
		switch {
		case !f.month.has(int(month)):
			t = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
		case !f.onDay(t):
			t = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
		case !f.hour.has(t.Hour()):
			t = time.Date(year, month, day, t.Hour()+1, 0, 0, 0, time.UTC)
		case !f.minute.has(t.Minute()):
			t = t.Add(time.Minute)
		default:
			return t.Unix(), true
		}
	}
	return 0, false
}

// before returns the latest matching time not after wall and not before limit.
func (f fields) before(wall, limit int64) (int64, bool) {
	t := time.Unix(wall, 0).UTC().Truncate(time.Minute)
	for t.Unix() >= limit {
		year, month, day := t.Date()
		switch {
		case !f.month.has(int(month)):
			t = time.Date(year, month, 1, 0, -1, 0, 0, time.UTC)
		case !f.onDay(t):
			t = time.Date(year, month, day, 0, -1, 0, 0, time.UTC)
		case !f.hour.has(t.Hour()):
			t = time.Date(year, month, day, t.Hour(), -1, 0, 0, time.UTC)
		case !f.minute.has(t.Minute()):
			t = t.Add(-time.Minute)
		default:
			return t.Unix(), true
		}
	}
	return 0, false
}
