//go:build unix

package supervisor

import (
	"context"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

const (
	// coolDownTime is how long who has given up a tenure lets others go first.
	coolDownTime = 30 * time.Second
	// freeLooks is how often the lock has to be seen free, at least half a second
	// apart, to say that nobody else stands by: who does takes it in milliseconds.
	freeLooks = 3
)

// coolDown lets others lead for a while. It is over in two seconds when nobody wants to.
func (r *run) coolDown(ctx context.Context) {
	r.Listen(Event{Kind: StandingBack, Left: coolDownTime})
	end := bootclock.Now().Add(coolDownTime)
	for free := 0; free < freeLooks && bootclock.Now() < end; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lock.Spread(500*time.Millisecond, 700*time.Millisecond)):
		}
		r.Listen(Event{Kind: Waiting})
		look, cancel := context.WithTimeout(ctx, lookTimeout)
		holder, err := r.Locker.Holder(look)
		cancel()
		if free++; err != nil || holder.Token != 0 {
			free = 0
		}
	}
}
