package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Parse reads a period: a duration from 1m to 1h that divides an hour; or five cron fields, or a macro such as @daily, in
// loc or in the zone of a prefix "TZ=Europe/Berlin " or "CRON_TZ=Europe/Berlin ". Errors are one line, made to follow the
// flag's name: what is wrong, and what to write instead.
func Parse(text string, loc *time.Location) (*Schedule, error) {
	return parse(text, loc, checkCalled)
}

// ParseAny is Parse, but takes any duration from 1s.
func ParseAny(text string, loc *time.Location) (*Schedule, error) {
	return parse(text, loc, checkOwn)
}

const example = "'30 1 * * *'"

// macros are those of Debian's cron.
var macros = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

func parse(text string, loc *time.Location, check func(text string, every time.Duration) error) (*Schedule, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("not UTF-8")
	}
	isControl := func(r rune) bool { return r != '\t' && unicode.IsControl(r) }
	if i := strings.IndexFunc(text, isControl); i >= 0 {
		return nil, fmt.Errorf("control character at position %d: leave it out", i+1)
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' })
	s := &Schedule{zone: loc}
	if len(words) > 0 {
		if name, ok := strings.CutPrefix(strings.TrimPrefix(words[0], "CRON_"), "TZ="); ok {
			var err error
			if s.zone, err = loadZone(name); err != nil {
				return nil, err
			}
			words = words[1:]
			if len(words) == 1 && startsWithDigit(words[0]) {
				return nil, fmt.Errorf("%q is a duration, which is the same in every zone: leave TZ= out", words[0])
			}
		}
	}
	switch {
	case len(words) == 0:
		return nil, errors.New("empty: give a duration such as 15m, or cron fields such as " + example)
	case strings.HasPrefix(words[0], "@"):
		plain, ok := macros[words[0]]
		if !ok || len(words) > 1 {
			return nil, refuseMacro(words)
		}
		words = strings.Fields(plain)
	case len(words) == 1:
		var err error
		if s.every, err = parseDuration(words[0]); err != nil {
			return nil, err
		}
		if err := check(words[0], s.every); err != nil {
			return nil, err
		}
		return s, nil
	case len(words) != 5:
		const five = "%d fields: give five (minute, hour, day of month, month, day of week), such as %s"
		return nil, fmt.Errorf(five, len(words), example)
	}
	var err error
	if s.fields, err = parseFields(words); err != nil {
		return nil, err
	}
	s.wildcard = words[0][0] == '*' || words[1][0] == '*'
	// From 2100 on every zone keeps to its last rule; after 100 years each day of the year was each day of the week.
	from := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, ok := s.next(from.Unix(), from.AddDate(100, 0, 0).Unix()); !ok {
		return nil, fmt.Errorf("%q is never due: no month has such a day, or the clocks skip such a time", strings.Join(words, " "))
	}
	return s, nil
}

func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" { // time.LoadLocation's own names
		return nil, errors.New("TZ= names no zone: write it as in TZ=Europe/Berlin, or leave it out")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("zone %q is not known on this host: write it as in TZ=Europe/Berlin, or install tzdata", name)
	}
	return zone, nil
}

func refuseMacro(words []string) error {
	switch {
	case words[0] == "@reboot":
		return errors.New("@reboot is no time: start the command from the host's init")
	case words[0] == "@every" && len(words) == 2:
		return fmt.Errorf("@every is not needed: write the duration alone, %q", words[1])
	case macros[words[0]] != "":
		return fmt.Errorf("%q after %s: write the macro alone", words[1], words[0])
	}
	return fmt.Errorf("%q is no macro: give @hourly, @daily, @weekly, @monthly or @yearly", words[0])
}

func startsWithDigit(text string) bool { return strings.ContainsAny(text[:1], digits) }

const digits = "+-.0123456789"

func parseDuration(text string) (time.Duration, error) {
	every, err := time.ParseDuration(text)
	switch {
	case err == nil:
		return every, nil
	case !startsWithDigit(text):
		return 0, fmt.Errorf("%q is no period: give a duration such as 15m, cron fields such as %s, or @daily", text, example)
	case strings.Trim(text, digits) == "":
		return 0, fmt.Errorf("%q has no unit: write it as in 15m, or give cron fields such as %s", text, example)
	case strings.Trim(text, digits+"hmsnuµ") == "":
		return 0, fmt.Errorf("%q is too long a duration, or none: write it as in 15m, or give cron fields such as %s", text, example)
	}
	return 0, fmt.Errorf("%q has a unit other than h, m and s: write it as in 15m, or give cron fields such as %s", text, example)
}

// checkCalled refuses durations at which a cron does not call, or not in every hour of the same number.
func checkCalled(text string, every time.Duration) error {
	const fieldsFor = "%s is not %s where clocks change: give the cron fields, such as --once-per '%s'"
	hours := every / time.Hour
	switch {
	case every <= 0:
		return fmt.Errorf("%s is no time at all: give 1m to 1h, such as 15m", text)
	case every < time.Minute:
		return fmt.Errorf("%s is shorter than 1m: a cron calls at full minutes, so give 1m to 1h", text)
	case every <= time.Hour && time.Hour%every != 0:
		return fmt.Errorf("%s does not divide an hour: give a duration that does, such as 5m, 10m, 15m, 20m or 30m", text)
	case every <= time.Hour:
		return nil
	case every == 24*time.Hour:
		return fmt.Errorf(fieldsFor, text, "a calendar day", "30 1 * * *")
	case every%time.Hour == 0 && 24%hours == 0:
		return fmt.Errorf(fieldsFor, text, "the same hours of each day", fmt.Sprintf("0 */%d * * *", hours))
	}
	return fmt.Errorf("%s is longer than 1h: give the cron fields, such as --once-per %s", text, example)
}

func checkOwn(text string, every time.Duration) error {
	if every <= 0 {
		return fmt.Errorf("%s is no time at all: give 1s or more", text)
	}
	if every < time.Second {
		return fmt.Errorf("%s is shorter than 1s: give 1s or more", text)
	}
	return nil
}

// parseFields reads the five fields of crontab(5). Of what Debian's cron takes for never it reads "fri-sun" and "5-0" as
// ending on the next Sunday, and refuses other ranges that run backwards.
func parseFields(words []string) (f fields, err error) {
	for i, field := range []struct {
		bits      *set
		name      string
		low, high int
		names     []string
	}{
		{&f.minute, "minute", 0, 59, nil},
		{&f.hour, "hour", 0, 23, nil},
		{&f.day, "day of month", 1, 31, nil},
		{&f.month, "month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
		{&f.weekday, "day of week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
	} {
		for element := range strings.SplitSeq(words[i], ",") {
			bits, err := parseElement(element, field.low, field.high, field.names)
			if err != nil {
				return f, fmt.Errorf("%s %q: %w", field.name, words[i], err)
			}
			*field.bits |= bits
		}
	}
	if f.weekday.has(0) || f.weekday.has(7) {
		f.weekday |= 1<<0 | 1<<7
	}
	f.bothDays = words[2][0] == '*' || words[4][0] == '*'
	return f, nil
}

func parseElement(element string, low, high int, names []string) (set, error) {
	number := func(text string, names []string, low, high int) (int, error) {
		if i := slices.Index(names, strings.ToLower(text)); i >= 0 {
			return low + i, nil
		}
		n, err := strconv.ParseUint(text, 10, 31) // refuses signs
		switch {
		case err == nil && low <= int(n) && int(n) <= high:
			return int(n), nil
		case names != nil:
			return 0, fmt.Errorf("%q is neither %d to %d nor %s to %s", text, low, high, names[0], names[len(names)-1])
		}
		return 0, fmt.Errorf("%q is not a number from %d to %d", text, low, high)
	}
	span, stepText, hasStep := strings.Cut(element, "/")
	firstText, lastText, isRange := strings.Cut(span, "-")
	first, last, step := low, high, 1
	if hasStep {
		var err error
		if step, err = number(stepText, nil, 1, 1<<20); err != nil {
			return 0, fmt.Errorf("step %w", err)
		}
	}
	if span != "*" {
		var err error
		if first, err = number(firstText, names, low, high); err != nil {
			return 0, err
		}
		last = first
		if isRange {
			if last, err = number(lastText, names, low, high); err != nil {
				return 0, err
			}
		} else if hasStep {
			return 0, fmt.Errorf("%s has a step and no range: write %s-%d/%s", element, firstText, high, stepText)
		}
	}
	if high == 7 && last == 0 && first > 0 {
		last = 7
	}
	if first > last {
		return 0, fmt.Errorf("%s runs backwards: write %s-%d,%d-%s", span, firstText, high, low, lastText)
	}
	var bits set
	for n := first; n <= last; n += step {
		bits |= 1 << n
	}
	return bits, nil
}
