package lock

import (
	"sync"
	"time"

	"leaderrun/lock/bootclock"
)

// A fakeClock runs on synctest's time, and on through suspend, in which Go's
// own timers stand still.
type fakeClock struct {
	began time.Time

	mu     sync.Mutex
	asleep time.Duration
	timers []*fakeTimer
	deaf   bool // timers do not fire
}

func newFakeClock() *fakeClock { return &fakeClock{began: time.Now()} }

func (c *fakeClock) Now() bootclock.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *fakeClock) now() bootclock.Instant {
	return bootclock.Instant(time.Since(c.began) + c.asleep + time.Hour) // up for an hour
}

// suspend lets d go by on this clock and no time elsewhere. Timers that are
// due fire at waking.
func (c *fakeClock) suspend(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asleep += d
	for _, t := range c.timers {
		t.arm()
	}
}

// freeze lets d go by in which no timer fires, as for a process that is stopped.
func (c *fakeClock) freeze(d time.Duration) {
	c.setDeaf(true)
	<-time.After(d)
	c.setDeaf(false)
	c.suspend(0)
}

func (c *fakeClock) setDeaf(deaf bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf = deaf
}

func (c *fakeClock) NewTimer() (bootclock.Timer, error) {
	t := &fakeTimer{clock: c, c: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timers = append(c.timers, t)
	return t, nil
}

type fakeTimer struct {
	clock *fakeClock
	c     chan struct{}
	at    bootclock.Instant // 0: not set
	timer *time.Timer
}

func (t *fakeTimer) C() <-chan struct{} { return t.c }

func (t *fakeTimer) Reset(i bootclock.Instant) {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.at = i
	t.arm()
}

func (t *fakeTimer) arm() {
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.at == 0 {
		return
	}
	t.timer = time.AfterFunc(t.at.Sub(t.clock.now()), t.fire)
}

func (t *fakeTimer) fire() {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	if t.at == 0 || t.clock.deaf || t.clock.now() < t.at {
		return
	}
	t.at = 0
	select {
	case t.c <- struct{}{}:
	default:
	}
}

func (t *fakeTimer) Close() error {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.at = 0
	t.arm()
	return nil
}
