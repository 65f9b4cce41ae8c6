//go:build !linux

package bootclock

import (
	"sync"
	"time"
)

// hop is how often a timer looks at the clock: Go's timers stop in suspend.
const hop = 20 * time.Millisecond

type timer struct {
	c     chan struct{}
	reset chan Instant
	done  chan struct{}
	once  sync.Once
}

func newTimer() (Timer, error) {
	t := &timer{c: make(chan struct{}, 1), reset: make(chan Instant), done: make(chan struct{})}
	go t.wait()
	return t, nil
}

func (t *timer) wait() {
	var at Instant
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-t.done:
			return
		case at = <-t.reset:
		case <-tick.C:
		}
		if at == 0 {
			continue
		}
		if left := at.Until(); left > 0 {
			tick.Reset(min(left, hop))
			continue
		}
		at = 0
		select {
		case t.c <- struct{}{}:
		default:
		}
	}
}

func (t *timer) C() <-chan struct{} { return t.c }

func (t *timer) Reset(i Instant) {
	select {
	case t.reset <- max(i, 1):
	case <-t.done:
	}
}

func (t *timer) Close() error {
	t.once.Do(func() { close(t.done) })
	return nil
}
