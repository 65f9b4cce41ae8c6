package lock

import (
	"context"
	"time"
)

// A Pause grows from one failed request to the next, from 50 ms to a second.
type Pause struct{ next time.Duration }

// NewPause returns the shortest.
func NewPause() *Pause { return &Pause{50 * time.Millisecond} }

// Wait returns after the pause, or when ctx is done.
func (p *Pause) Wait(ctx context.Context) {
	t := time.NewTimer(p.next)
	defer t.Stop()
	p.next = min(2*p.next, time.Second)
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
