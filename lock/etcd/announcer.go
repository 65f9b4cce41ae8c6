package etcd

import (
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// vacant is how long nobody must have led before people are told: between two
// leaders it is a matter of milliseconds and worth no line.
const vacant = 500 * time.Millisecond

// An announcer tells a standby's log who leads, once for each change.
type announcer struct {
	notify func(lock.Notice)
	told   bool
	last   lock.Token        // whom it told of
	since  bootclock.Instant // since when nobody has led; 0 for not
}

// announce tells what is due and returns when to call it again, `wake` at the latest.
func (c *announcer) announce(leader lock.Holder, wake bootclock.Instant) bootclock.Instant {
	if leader.Token != 0 {
		c.since = 0
	}
	if c.told && c.last == leader.Token {
		return wake
	}
	if leader.Token == 0 {
		now := bootclock.Now()
		if c.since == 0 {
			c.since = now
		}
		if due := c.since.Add(vacant); now < due {
			return min(wake, due)
		}
	}
	c.told, c.last = true, leader.Token
	c.notify(lock.Notice{Kind: lock.StandingBy, Holder: leader})
	return wake
}
