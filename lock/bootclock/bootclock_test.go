package bootclock

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestTimer(t *testing.T) Timer {
	t.Helper()
	timer, err := System.NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = timer.Close() })
	return timer
}

// fires waits for a tick and returns when it came.
func fires(t *testing.T, timer Timer) Instant {
	t.Helper()
	select {
	case <-timer.C():
		return Now()
	case <-time.After(10 * time.Second):
		t.Fatal("the timer does not fire")
		return 0
	}
}

// quiet asserts that no tick comes for a while.
func quiet(t *testing.T, timer Timer) {
	t.Helper()
	select {
	case <-timer.C():
		t.Error("fired")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestNow(t *testing.T) {
	first := Now()
	for before := first; before < first.Add(time.Millisecond); {
		now := System.Now()
		if now < before {
			t.Fatalf("went back by %v", before.Sub(now))
		}
		before = now
	}
	if first <= 0 {
		t.Errorf("began at %d", first)
	}
	if d := first.Add(time.Hour).Sub(first); d != time.Hour {
		t.Errorf("an hour is %v", d)
	}
	if left := Now().Add(time.Hour).Until(); left > time.Hour || left < time.Hour-time.Minute {
		t.Errorf("an hour is %v from now", left)
	}
}

func TestTimer(t *testing.T) {
	timer := newTestTimer(t)
	quiet(t, timer) // it is not set
	for _, d := range []time.Duration{20 * time.Millisecond, time.Nanosecond, 0, -time.Hour} {
		at := Now().Add(d)
		timer.Reset(at)
		if now := fires(t, timer); now < at {
			t.Errorf("fired %v early", at.Sub(now))
		}
		quiet(t, timer) // once
	}
	timer.Reset(0) // the clock's beginning
	fires(t, timer)
	timer.Reset(-1)
	fires(t, timer)
}

// The latest Reset counts, whichever way it moves.
func TestTimerResetAgain(t *testing.T) {
	timer := newTestTimer(t)
	timer.Reset(Now().Add(10 * time.Millisecond))
	timer.Reset(Now().Add(time.Hour))
	quiet(t, timer)
	timer.Reset(Now().Add(time.Millisecond))
	fires(t, timer)
}

// A timer that is closed fires no more, and minds nothing.
func TestTimerClosed(t *testing.T) {
	timer := newTestTimer(t)
	timer.Reset(Now().Add(10 * time.Millisecond))
	if err := timer.Close(); err != nil {
		t.Error(err)
	}
	timer.Reset(Now())
	_ = timer.Close()
	quiet(t, timer)
}

func TestManyTimers(t *testing.T) {
	for i := range 50 {
		timer := newTestTimer(t)
		at := Now().Add(time.Duration(i) * time.Millisecond / 10)
		timer.Reset(at)
		t.Cleanup(func() {
			if now := fires(t, timer); now < at {
				t.Errorf("fired %v early", at.Sub(now))
			}
		})
	}
}
