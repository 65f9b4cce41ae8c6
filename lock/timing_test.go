package lock

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTiming(t *testing.T) {
	for _, c := range []struct {
		ttl, grace time.Duration
		want       Timing
		ok         bool
	}{
		{15 * time.Second, 5 * time.Second, Timing{Interval: 3 * time.Second, Request: 2500 * time.Millisecond, Margin: 300 * time.Millisecond}, true},
		{2 * time.Second, time.Second * 2 / 3, Timing{Interval: 400 * time.Millisecond, Request: time.Second / 3, Margin: 250 * time.Millisecond}, true},
		{time.Second, 0, Timing{Interval: 200 * time.Millisecond, Request: time.Second / 6, Margin: 250 * time.Millisecond}, true},
		{24 * time.Hour, 12 * time.Hour, Timing{Interval: 30 * time.Second, Request: 5 * time.Second, Margin: 24 * time.Hour / 50}, true},
		{15 * time.Second, 7 * time.Second, Timing{}, false},
		{500 * time.Millisecond, 0, Timing{}, false},
		{0, 0, Timing{}, false},
		{-time.Second, 0, Timing{}, false},
		{15 * time.Second, -1, Timing{}, false},
	} {
		got, err := NewTiming(c.ttl, c.grace)
		c.want.Grace = c.grace
		c.want.MostGrace = c.ttl - c.want.Interval - 2*c.want.Request - c.want.Margin
		if (err == nil) != c.ok || c.ok && got != c.want || !c.ok && !errors.Is(err, ErrConfig) {
			t.Errorf("%v, grace %v: %+v, %v; want %+v, %v", c.ttl, c.grace, got, err, c.want, c.ok)
		}
	}
}

// What is accepted holds what it has to, and both cures that an error names
// work; the least TTL is the least.
func TestTimingBudget(t *testing.T) {
	t.Run("direct", func(t *testing.T) { testTimingBudget(t, NewTiming, 1) })
	t.Run("relayed", func(t *testing.T) { testTimingBudget(t, NewRelayedTiming, 2) })
}

func testTimingBudget(t *testing.T, newTiming func(ttl, grace time.Duration) (Timing, error), intervals time.Duration) {
	t.Helper()
	for _, ttl := range []time.Duration{
		1, time.Millisecond, 100 * time.Millisecond, 535 * time.Millisecond, 536 * time.Millisecond, 900 * time.Millisecond,
		2 * time.Second, 3333 * time.Millisecond, 12500 * time.Millisecond, 15 * time.Second, 30 * time.Second, 150 * time.Second,
		151 * time.Second, time.Hour, 48 * time.Hour,
	} {
		for _, grace := range []time.Duration{
			0, 1, 200 * time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second, 10 * time.Minute, 25 * time.Hour, 365 * 24 * time.Hour,
		} {
			timing, err := newTiming(ttl, grace)
			if err == nil {
				if timing.Interval < timing.Relay {
					t.Errorf("%v: renewals every %v are closer than %v", ttl, timing.Interval, timing.Relay)
				}
				if need := intervals*timing.Interval + 2*timing.Request + timing.Margin + grace; need > ttl {
					t.Errorf("%v, grace %v: accepted, but needs %v", ttl, grace, need)
				}
				continue
			}
			for _, setting := range []string{"--ttl", "--loss-grace", fmt.Sprint(ttl), fmt.Sprint(grace)} {
				if !strings.Contains(err.Error(), setting) {
					t.Errorf("%v does not name %s", err, setting)
				}
			}
			least := after(t, err, "--ttl to at least ")
			if _, err := newTiming(least, grace); err != nil {
				t.Errorf("%v, grace %v: told to take %v, and then: %v", ttl, grace, least, err)
			}
			if _, err := newTiming(least-100*time.Millisecond, grace); err == nil {
				t.Errorf("%v, grace %v: told to take %v, but less works", ttl, grace, least)
			}
			if !strings.Contains(err.Error(), "--loss-grace to at most") {
				if _, err := newTiming(ttl, 0); err == nil {
					t.Errorf("%v, grace %v: not told that a shorter grace works", ttl, grace)
				}
				continue
			}
			most := after(t, err, "--loss-grace to at most ")
			if _, err := newTiming(ttl, most); err != nil {
				t.Errorf("%v, grace %v: told to take grace %v, and then: %v", ttl, grace, most, err)
			}
		}
	}
}

func after(t *testing.T, err error, text string) time.Duration {
	t.Helper()
	_, rest, _ := strings.Cut(err.Error(), text)
	word, _, _ := strings.Cut(rest, " ")
	d, perr := time.ParseDuration(word)
	if perr != nil {
		t.Fatalf("no duration after %q: %v", text, err)
	}
	return d
}

// Settings that are taken fit into the lease; those that are not are refused with
// a --ttl that would do.
func FuzzTiming(f *testing.F) {
	for _, s := range [][2]time.Duration{{15 * time.Second, 5 * time.Second}, {0, 0}, {-1, 0}, {time.Second, time.Hour}, {87600 * time.Hour, 87600 * time.Hour}} {
		f.Add(int64(s[0]), int64(s[1]), false)
		f.Add(int64(s[0]), int64(s[1]), true)
	}
	f.Fuzz(func(t *testing.T, ttl, grace int64, relayed bool) {
		const longest = 87600 * time.Hour // of a flag
		lifetime, want := time.Duration(ttl)%longest, time.Duration(grace)%longest
		of, intervals := NewTiming, time.Duration(1)
		if relayed {
			of, intervals = NewRelayedTiming, 2
		}
		got, err := of(lifetime, want)
		if err == nil {
			if used := intervals*got.Interval + 2*got.Request + got.Margin + got.Grace; got.Grace != want || want < 0 || used > lifetime || got.Interval <= 0 || got.Request <= 0 {
				t.Errorf("%v, %v: %+v takes %v", lifetime, want, got, used)
			}
			return
		}
		text := err.Error()
		if !errors.Is(err, ErrConfig) || !strings.Contains(text, "--loss-grace") {
			t.Errorf("%v, %v: %v", lifetime, want, err)
		}
		if _, cure, ok := strings.Cut(text, "set --ttl to at least "); ok {
			cure, _, _ = strings.Cut(cure, " ")
			enough, err := time.ParseDuration(cure)
			if err != nil {
				t.Fatalf("%v, %v: %s: %v", lifetime, want, text, err)
			}
			if _, err := of(enough, want); err != nil {
				t.Errorf("%v, %v: %s: and then %v", lifetime, want, text, err)
			}
		} else if want >= 0 {
			t.Errorf("%v, %v: no cure: %v", lifetime, want, err)
		}
	})
}

// However often a renewal has failed, the pause before the next attempt is short when
// little is left, and never long.
func TestRetry(t *testing.T) {
	for _, newTiming := range []func(ttl, grace time.Duration) (Timing, error){NewTiming, NewRelayedTiming} {
		timing, err := newTiming(30*time.Second, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		least := timing.Request / 10
		for left := time.Duration(0); left < 30*time.Second; left += 100 * time.Millisecond {
			for failures := range 100 {
				most := min(timing.Request, max(least, (left-timing.Grace-timing.Relay)/4))
				if failures == 0 {
					most = least
				}
				if got := timing.retry(failures, left); got > most || got < least/2 {
					t.Fatalf("%v left, %d failures: a pause of %v, want at most %v", left, failures, got, most)
				}
			}
		}
	}
}
