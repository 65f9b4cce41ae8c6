package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
)

func zone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		tb.Skip(err) // no zone data on this host
	}
	return loc
}

func mustParse(tb testing.TB, text string, loc *time.Location) *Schedule {
	tb.Helper()
	s, err := ParseAny(text, loc)
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return s
}

// Latest and Next are what somebody finds who looks at a wall clock every minute.
func TestReference(t *testing.T) {
	expressions := []string{
		"30 1 * * *", "30 2 * * *", "0 0 * * *", "15 2 * * *", "0 2 * * *", "0 3 * * *", "59 23 * * *", "10,20,50 0,1,2 * * *",
		"45 1-3 * * *", "0 0 * * sun", "30 2 * * 5-7", "0 3 1 * *", "15 2 1,25-31 * sun", "15 2 */2 * sun", // fixed
		"*/15 * * * *", "0 */2 * * *", "5-59/7 * * * *", "*/20 2 * * *", "0 * * * *", "*/30 0-2 * * SUN", // wildcards
	}
	zones := []string{"Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"}
	for _, name := range zones {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loc := zone(t, name)
			for _, change := range changes(loc, 2020, 2030) {
				clock := watchClock(loc, change.AddDate(0, 0, -40), change.AddDate(0, 0, 40))
				for _, text := range expressions {
					compare(t, mustParse(t, text, loc), text, clock.due(text), change)
				}
			}
		})
	}
}

// changes returns when the clocks of a zone change, or some other times where they never do.
func changes(loc *time.Location, firstYear, lastYear int) []time.Time {
	var found []time.Time
	offset := func(t time.Time) int { _, o := t.In(loc).Zone(); return o }
	end := time.Date(lastYear+1, 1, 1, 0, 0, 0, 0, time.UTC)
	for hour := time.Date(firstYear, 1, 1, 0, 0, 0, 0, time.UTC); hour.Before(end); hour = hour.Add(time.Hour) {
		if offset(hour.Add(-time.Hour)) == offset(hour) {
			continue
		}
		minute := hour.Add(-time.Hour)
		for offset(minute) != offset(hour) {
			minute = minute.Add(time.Minute)
		}
		found = append(found, minute)
	}
	if found == nil {
		leapDay := time.Date(firstYear, 2, 29, 0, 0, 0, 0, time.UTC)
		found = append(found, leapDay, end)
	}
	return found
}

func compare(t *testing.T, s *Schedule, text string, due []time.Time, change time.Time) {
	t.Helper()
	const near, far = 3 * 60, 36 * 60
	for minute := -far; minute <= far; minute++ {
		if (minute < -near || minute > near) && minute%31 != 0 {
			continue
		}
		for _, second := range []time.Duration{0, 59*time.Second + 999*time.Millisecond} {
			now := change.Add(time.Duration(minute)*time.Minute + second)
			i, ok := slices.BinarySearchFunc(due, now, time.Time.Compare)
			if ok {
				i++
			}
			if got := s.Latest(now); !got.Equal(due[i-1]) {
				t.Fatalf("%s: Latest(%s) = %s, not %s", text, now.In(s.zone), got, due[i-1].In(s.zone))
			}
			if got := s.Next(now); !got.Equal(due[i]) {
				t.Fatalf("%s: Next(%s) = %s, not %s", text, now.In(s.zone), got, due[i].In(s.zone))
			}
		}
	}
}

// A shown is what a wall clock shows at some minute.
type shown struct {
	at   time.Time
	wall time.Time // as if it showed UTC
	// The times that it shows for the first time, among them those that it skips: from this one to wall.
	firstNew time.Time
}

type clock []shown

func watchClock(loc *time.Location, from, to time.Time) clock {
	var c clock
	var latest time.Time
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		local := at.In(loc)
		wall := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), 0, 0, time.UTC)
		next := shown{at: at, wall: wall, firstNew: latest.Add(time.Minute)}
		if latest.IsZero() {
			next.firstNew = wall
		}
		if wall.After(latest) {
			latest = wall
		}
		c = append(c, next)
	}
	return c
}

// due returns when a crontab's line is due, by cron(8): fixed times once, as soon as they or the time after a gap are
// shown, and wildcards as often as they are shown.
func (c clock) due(text string) []time.Time {
	f := strings.Fields(text)
	var allowed [5][60]bool
	for i := range allowed {
		for n := range allowed[i] {
			allowed[i][n] = naiveMatch(f[i], n, []int{0, 0, 1, 1, 0}[i])
		}
	}
	matches := func(wall time.Time) bool {
		if !allowed[0][wall.Minute()] || !allowed[1][wall.Hour()] || !allowed[3][wall.Month()] {
			return false
		}
		day, weekday := allowed[2][wall.Day()], allowed[4][wall.Weekday()] || wall.Weekday() == 0 && allowed[4][7]
		if strings.HasPrefix(f[2], "*") || strings.HasPrefix(f[4], "*") {
			return day && weekday
		}
		return day || weekday
	}
	wildcard := strings.HasPrefix(f[0], "*") || strings.HasPrefix(f[1], "*")
	var due []time.Time
	for _, s := range c {
		isDue := wildcard && matches(s.wall)
		for wall := s.firstNew; !wildcard && !isDue && !wall.After(s.wall); wall = wall.Add(time.Minute) {
			isDue = matches(wall)
		}
		if isDue {
			due = append(due, s.at)
		}
	}
	return due
}

func naiveMatch(field string, n, low int) bool {
	for element := range strings.SplitSeq(strings.ReplaceAll(strings.ToLower(field), "sun", "0"), ",") {
		span, step, _ := strings.Cut(element, "/")
		every, _ := strconv.Atoi(cmp.Or(step, "1"))
		first, last := low, 99
		if span != "*" {
			if _, err := fmt.Sscanf(span, "%d-%d", &first, &last); err != nil {
				last = first
			}
		}
		if first <= n && n <= last && (n-first)%every == 0 {
			return true
		}
	}
	return false
}

func TestClockChanges(t *testing.T) {
	for _, c := range []struct{ zone, text, at, latest, next string }{
		// skipped: at the end of the gap
		{"Europe/Berlin", "30 2 * * *", "2026-03-29T03:00:00+02:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		{"Europe/Berlin", "10,50 2 * * *", "2026-03-29T01:59:59+01:00", "2026-03-28T02:50:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"Europe/Berlin", "30 2,3 * * *", "2026-03-29T03:00:00+02:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"},
		{"Africa/Cairo", "0 0 * * *", "2026-04-24T01:00:00+03:00", "2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"},
		{"Africa/Cairo", "@weekly", "2026-04-24T01:00:00+03:00", "2026-04-19T00:00:00+02:00", "2026-04-26T00:00:00+03:00"},
		{"Australia/Lord_Howe", "15 2 * * *", "2026-10-04T02:30:00+11:00", "2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"},
		{"Pacific/Apia", "0 12 * * *", "2011-12-31T00:00:00+14:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"},
		// repeated: the first time only
		{"Europe/Berlin", "30 2 * * *", "2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		{"Africa/Cairo", "30 23 * * *", "2026-10-29T23:30:00+02:00", "2026-10-29T23:30:00+03:00", "2026-10-30T23:30:00+02:00"},
		// wildcards: as the clock shows
		{"Europe/Berlin", "*/30 2 * * *", "2026-03-29T03:00:00+02:00", "2026-03-28T02:30:00+01:00", "2026-03-30T02:00:00+02:00"},
		{"Europe/Berlin", "*/30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00"},
		{"Europe/Berlin", "@hourly", "2026-10-25T02:59:59+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"},
		// far apart
		{"Europe/Berlin", "0 12 29 2 *", "2097-01-01T00:00:00+01:00", "2096-02-29T12:00:00+01:00", "2104-02-29T12:00:00+01:00"},
		{"Europe/Berlin", "*/5 12 29 2 */7", "2026-01-01T00:00:00+01:00", "2004-02-29T12:55:00+01:00", "2032-02-29T12:00:00+01:00"},
		{"Europe/Berlin", "* * 31 12 *", "2028-12-30T23:59:59+01:00", "2027-12-31T23:59:00+01:00", "2028-12-31T00:00:00+01:00"},
		{"Europe/Berlin", "0 0 1 1 *", "2052-12-31T12:00:00+01:00", "2052-01-01T00:00:00+01:00", "2053-01-01T00:00:00+01:00"},
		{"Europe/Berlin", "* 0 1 1 *", "2052-12-31T12:00:00+01:00", "2052-01-01T00:59:00+01:00", "2053-01-01T00:00:00+01:00"},
		// durations: multiples since the Unix epoch
		{"Asia/Kolkata", "1h", "2026-11-26T12:00:00+05:30", "2026-11-26T11:30:00+05:30", "2026-11-26T12:30:00+05:30"},
		{"UTC", "7s", "1970-01-01T00:00:14Z", "1970-01-01T00:00:14Z", "1970-01-01T00:00:21Z"},
		{"UTC", "24h", "1969-12-31T23:59:59Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"},
		{"UTC", "1500ms", "1970-01-01T00:00:03.1Z", "1970-01-01T00:00:03Z", "1970-01-01T00:00:04.5Z"},
		{"Europe/Berlin", "90m", "1970-01-01T01:00:00+01:00", "1970-01-01T01:00:00+01:00", "1970-01-01T02:30:00+01:00"},
	} {
		s := mustParse(t, c.text, zone(t, c.zone))
		at, err := time.Parse(time.RFC3339Nano, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Latest(at).Format(time.RFC3339Nano); got != c.latest {
			t.Errorf("%s %s: Latest(%s) = %s, not %s", c.zone, c.text, c.at, got, c.latest)
		}
		if got := s.Next(at).Format(time.RFC3339Nano); got != c.next {
			t.Errorf("%s %s: Next(%s) = %s, not %s", c.zone, c.text, c.at, got, c.next)
		}
	}
}

func TestFields(t *testing.T) {
	// Each pair means the same.
	for _, pair := range [][2]string{
		{"  30\t1 * *  * ", "30 1 * * *"},
		{"0 0 * * 7", "0 0 * * sun"},
		{"0 0 * * fri-sun", "0 0 * * 5-7"},
		{"0 0 * * 5-0", "0 0 * * 0,5,6"},
		{"0 0 * * 0-7", "0 0 * * *"},
		{"0 0 * * MON-fri", "0 0 * * 1-5"},
		{"0 0 1 JAN,jun-aug *", "0 0 1 1,6,7,8 *"},
		{"5-59/20 0-23/08 * * *", "5,25,45 0,8,16 * * *"},
		{"*/100 1 * * *", "* 1 * * *"}, // but for the minutes
		{"@hourly", "0 * * * *"},
		{"@daily", "0 0 * * *"},
		{"@midnight", "0 0 * * *"},
		{"@weekly", "0 0 * * 0"},
		{"@monthly", "0 0 1 * *"},
		{"@yearly", "0 0 1 1 *"},
		{"@annually", "0 0 1 1 *"},
	} {
		got, want := mustParse(t, pair[0], time.UTC), mustParse(t, pair[1], time.UTC)
		if strings.HasPrefix(pair[0], "*/100") {
			want.fields.minute = 1
		}
		got.fields.bothDays, want.fields.bothDays = true, true
		if *got != *want {
			t.Errorf("%q is %+v, not %+v", pair[0], got, want)
		}
	}
	// Both days have to match where one begins with a star.
	for text, want := range map[string]string{
		"0 0 13 * fri":     "2026-11-27", // either
		"0 0 1-31 * fri":   "2026-11-27",
		"0 0 13 * 1-7":     "2026-11-27",
		"0 0 */13 * fri":   "2026-11-27", // the 1st, the 14th and the 27th, if a Friday
		"0 0 13 * */5":     "2026-12-13", // Fridays and Sundays
		"0 0 * * tue":      "2026-12-01",
		"0 0 13 * *":       "2026-12-13",
		"0 0 2-31/2 * */6": "2026-11-28", // Saturdays and Sundays
	} {
		from := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
		if got := mustParse(t, text, time.UTC).Next(from).Format(time.DateOnly); got != want {
			t.Errorf("%s is due on %s, not %s", text, got, want)
		}
	}
}

func TestZonePrefix(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	for _, prefix := range []string{"TZ=Europe/Berlin ", " CRON_TZ=Europe/Berlin\t"} {
		got := mustParse(t, prefix+"30 1 * * *", time.UTC).Next(time.Date(2026, 7, 1, 0, 0, 0, 0, berlin))
		if want := "2026-07-01T01:30:00+02:00"; got.Format(time.RFC3339) != want || got.Location().String() != "Europe/Berlin" {
			t.Errorf("%s: %s in %s, not %s", prefix, got, got.Location(), want)
		}
	}
}

func TestTick(t *testing.T) {
	for _, c := range []struct{ text, at, tick string }{
		{"1m", "11:59:53.999", "11:59:00"}, // 6 s
		{"1m", "11:59:54", "12:00:00"},
		{"1m", "12:00:00", "12:00:00"},
		{"1m", "12:00:53", "12:00:00"},
		{"* * * * *", "11:59:53.999", "11:59:00"},
		{"* * * * *", "11:59:54", "12:00:00"},
		{"1h", "11:59:29.999", "11:00:00"}, // 30 s
		{"1h", "11:59:30", "12:00:00"},
		{"1h", "12:00:20", "12:00:00"},
		{"0 12 * * *", "11:59:30", "12:00:00"},
		{"0 12 * * *", "12:00:00", "12:00:00"},
		{"0 12 * * *", "23:59:59", "12:00:00"},
		{"58,0 11,12 * * *", "11:59:48", "12:00:00"}, // 2 minutes: 12 s
		{"58,0 11,12 * * *", "11:59:47", "11:58:00"},
		{"10s", "12:00:08.9", "12:00:00"}, // 1 s
		{"10s", "12:00:09", "12:00:10"},
	} {
		at, err := time.Parse(time.DateTime, "2026-11-26 "+c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := mustParse(t, c.text, time.UTC).Tick(at).Format("15:04:05"); got != c.tick {
			t.Errorf("%s: Tick(%s) = %s, not %s", c.text, c.at, got, c.tick)
		}
	}
}

func TestRefused(t *testing.T) {
	zone(t, "Europe/Berlin")
	const fieldsToo = ": write it as in 15m, or give cron fields such as '30 1 * * *'"
	const divides = " does not divide an hour: give a duration that does, such as 5m, 10m, 15m, 20m or 30m"
	const five = " fields: give five (minute, hour, day of month, month, day of week), such as '30 1 * * *'"
	const never = " is never due: no month has such a day, or the clocks skip such a time"
	for text, want := range map[string]string{
		"":                                   "empty: give a duration such as 15m, or cron fields such as '30 1 * * *'",
		" \t":                                "empty: give a duration such as 15m, or cron fields such as '30 1 * * *'",
		"TZ=UTC":                             "empty: give a duration such as 15m, or cron fields such as '30 1 * * *'",
		"30 1 * * *\n":                       "control character at position 11: leave it out",
		"\xff":                               "not UTF-8",
		"24h":                                "24h is not a calendar day where clocks change: give the cron fields, such as --once-per '30 1 * * *'",
		"1440m":                              "1440m is not a calendar day where clocks change: give the cron fields, such as --once-per '30 1 * * *'",
		"2h":                                 "2h is not the same hours of each day where clocks change: give the cron fields, such as --once-per '0 */2 * * *'",
		"12h":                                "12h is not the same hours of each day where clocks change: give the cron fields, such as --once-per '0 */12 * * *'",
		"5h":                                 "5h is longer than 1h: give the cron fields, such as --once-per '30 1 * * *'",
		"90m":                                "90m is longer than 1h: give the cron fields, such as --once-per '30 1 * * *'",
		"168h":                               "168h is longer than 1h: give the cron fields, such as --once-per '30 1 * * *'",
		"7m":                                 "7m" + divides,
		"59m59s":                             "59m59s" + divides,
		"30s":                                "30s is shorter than 1m: a cron calls at full minutes, so give 1m to 1h",
		"0":                                  "0 is no time at all: give 1m to 1h, such as 15m",
		"-5m":                                "-5m is no time at all: give 1m to 1h, such as 15m",
		"9999999h":                           `"9999999h" is too long a duration, or none` + fieldsToo,
		"1.2.3m":                             `"1.2.3m" is too long a duration, or none` + fieldsToo,
		"5":                                  `"5" has no unit` + fieldsToo,
		"1d":                                 `"1d" has a unit other than h, m and s` + fieldsToo,
		"daily":                              `"daily" is no period: give a duration such as 15m, cron fields such as '30 1 * * *', or @daily`,
		"TZ=UTC 5m":                          `"5m" is a duration, which is the same in every zone: leave TZ= out`,
		"TZ= @daily":                         "TZ= names no zone: write it as in TZ=Europe/Berlin, or leave it out",
		"TZ=Local 5m":                        "TZ= names no zone: write it as in TZ=Europe/Berlin, or leave it out",
		"TZ=No/Such 5m":                      `zone "No/Such" is not known on this host: write it as in TZ=Europe/Berlin, or install tzdata`,
		"@reboot":                            "@reboot is no time: start the command from the host's init",
		"@every 5m":                          `@every is not needed: write the duration alone, "5m"`,
		"@every":                             `"@every" is no macro: give @hourly, @daily, @weekly, @monthly or @yearly`,
		"@dayly":                             `"@dayly" is no macro: give @hourly, @daily, @weekly, @monthly or @yearly`,
		"@daily job":                         `"job" after @daily: write the macro alone`,
		"5 m":                                "2" + five,
		"0 30 1 * * *":                       "6" + five,
		"30 2 30 2 *":                        `"30 2 30 2 *"` + never,
		"* * 30 2 *":                         `"* * 30 2 *"` + never,
		"0 0 31 4,6 *":                       `"0 0 31 4,6 *"` + never,
		"TZ=Europe/Berlin */5 2 25-31 3 */7": `"*/5 2 25-31 3 */7"` + never,
		"60 1 * * *":                         `minute "60": "60" is not a number from 0 to 59`,
		"0 24 * * *":                         `hour "24": "24" is not a number from 0 to 23`,
		"0 0 0 * *":                          `day of month "0": "0" is not a number from 1 to 31`,
		"0 0 ? * *":                          `day of month "?": "?" is not a number from 1 to 31`,
		"0 0 1 0 *":                          `month "0": "0" is neither 1 to 12 nor jan to dec`,
		"0 0 1 january *":                    `month "january": "january" is neither 1 to 12 nor jan to dec`,
		"0 0 * * 8":                          `day of week "8": "8" is neither 0 to 7 nor sun to sat`,
		"0 0 * * sat-mon":                    `day of week "sat-mon": sat-mon runs backwards: write sat-7,0-mon`,
		"50-10 0 * * *":                      `minute "50-10": 50-10 runs backwards: write 50-59,0-10`,
		"5/10 * * * *":                       `minute "5/10": 5/10 has a step and no range: write 5-59/10`,
		"*/0 * * * *":                        `minute "*/0": step "0" is not a number from 1 to 1048576`,
		"*/ * * * *":                         `minute "*/": step "" is not a number from 1 to 1048576`,
		"1,,2 * * * *":                       `minute "1,,2": "" is not a number from 0 to 59`,
		"-5 * * * *":                         `minute "-5": "" is not a number from 0 to 59`,
		"+5 * * * *":                         `minute "+5": "+5" is not a number from 0 to 59`,
		"1-2-3 * * * *":                      `minute "1-2-3": "2-3" is not a number from 0 to 59`,
		"99999999999999999999 * * * *":       `minute "99999999999999999999": "99999999999999999999" is not a number from 0 to 59`,
	} {
		if _, err := Parse(text, time.UTC); err == nil || err.Error() != want {
			t.Errorf("Parse(%q):\n%v\nnot\n%s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"999ms": "999ms is shorter than 1s: give 1s or more",
		"-1h":   "-1h is no time at all: give 1s or more",
		"0s":    "0s is no time at all: give 1s or more",
	} {
		if _, err := ParseAny(text, time.UTC); err == nil || err.Error() != want {
			t.Errorf("ParseAny(%q): %v, not %s", text, err, want)
		}
	}
	for _, text := range []string{"1m", "60s", "1m30s", "5m", "60m", "1h", "0.5h"} {
		if _, err := Parse(text, time.UTC); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"30 1 * * *", "*/15 2 * * *", "0 0 29 2 */7", "@weekly", "TZ=Africa/Cairo 0 0 * * sun",
		"5-59/7 0-7 1,31 jan-mar fri-sun", "1500ms", "1h", "* * 30 2 *", "TZ=UTC * * 30 2 *",
	} {
		f.Add(text, int64(1774746000), int64(0)) // Berlin's gap in 2026
	}
	berlin := zone(f, "Europe/Berlin")
	first, last := time.Date(1700, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	f.Fuzz(func(t *testing.T, text string, sec, nsec int64) {
		if _, err := Parse(text, berlin); err != nil && (err.Error() == "" || strings.ContainsFunc(err.Error(), unicode.IsControl)) {
			t.Errorf("%q: %q", text, err)
		}
		s, err := ParseAny(text, berlin)
		if err != nil {
			return
		}
		now := time.Unix(first+max(sec, -sec-1)%(last-first), max(nsec, -nsec-1)%1e9)
		latest, next, tick := s.Latest(now), s.Next(now), s.Tick(now)
		switch {
		case latest.After(now) || !next.After(now):
			t.Errorf("%q: %s <= %s < %s", text, latest, now, next)
		case !s.Latest(next).Equal(next) || !s.Latest(latest).Equal(latest):
			t.Errorf("%q: %s or %s is not due at itself", text, latest, next)
		case !s.Next(latest.Add(-1)).Equal(latest) || !s.Next(latest).Equal(next) || !s.Latest(next.Add(-1)).Equal(latest):
			t.Errorf("%q: %s and %s are not neighbours", text, latest, next)
		case !tick.Equal(latest) && !tick.Equal(next):
			t.Errorf("%q: tick %s at %s is neither %s nor %s", text, tick, now, latest, next)
		}
	})
}
