package transport

import (
	"context"
	"errors"
	"time"

	"leaderrun/lock"
)

// comeBack is the longest pause of Await: who holds a lock is to hear that somebody
// took it by hand before the next holder has settled, after a pause of its own too.
const comeBack = lock.SettleTime / 4

// Await is Get for what can wait: watches, and whoever stands by. After a connection
// was lost, and after each round that failed, it lets a random pause pass, also if
// meanwhile there is one again: candidates that have lost their store in one moment
// are not to come back to it in one. It tries until ctx is done or no pause mends
// what is wrong.
func (p *Pool[C]) Await(ctx context.Context) (C, error) {
	for {
		p.mu.Lock()
		p.look()
		if pause := time.Until(p.after); pause > 0 {
			p.mu.Unlock()
			t := time.NewTimer(pause)
			select {
			case <-t.C:
				continue
			case <-ctx.Done():
				t.Stop()
				var none C
				return none, context.Cause(ctx)
			}
		}
		r, err := p.join()
		p.mu.Unlock()
		c, err := p.wait(ctx, r, err)
		if err == nil || !errors.Is(err, lock.ErrUnavailable) || ctx.Err() != nil || p.ctx.Err() != nil {
			return c, err
		}
	}
}
