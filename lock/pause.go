package lock

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// A Pause grows from one failed request to the next, from 50 ms to a second. Each
// is up to half shorter, by chance: a store that fails fails for all candidates in
// the same moment, and they are not to ask again in the same moment.
type Pause struct{ next time.Duration }

// NewPause returns the shortest.
func NewPause() *Pause { return &Pause{50 * time.Millisecond} }

// NewLatePause returns the longest, for what can wait.
func NewLatePause() *Pause { return &Pause{time.Second} }

// Wait returns after the pause, or when ctx is done.
func (p *Pause) Wait(ctx context.Context) {
	t := time.NewTimer(Spread(p.next/2, p.next))
	defer t.Stop()
	p.next = min(2*p.next, time.Second)
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Persist repeats f until it succeeds, fails for another reason than an
// unavailable store, or ctx is done.
func Persist(ctx context.Context, f func(context.Context) error) error {
	pause := NewPause()
	for {
		err := f(ctx)
		if err == nil || !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		pause.Wait(ctx)
	}
}

// Spread returns a time between the two, each as likely as another.
func Spread(least, most time.Duration) time.Duration {
	return least + rand.N(most-least+1)
}
