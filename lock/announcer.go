package lock

import (
	"time"

	"leaderrun/lock/bootclock"
)

// vacant is how long nobody must have led before people are told: between two
// leaders it is a matter of milliseconds and worth no line.
const vacant = 500 * time.Millisecond

// An Announcer tells a standby's log who leads, once for each change.
type Announcer struct {
	notify func(Notice)
	told   bool
	last   Token             // whom it told of
	since  bootclock.Instant // since when nobody has led; 0 for not
}

// NewAnnouncer returns one that has told nothing yet.
func NewAnnouncer(notify func(Notice)) *Announcer { return &Announcer{notify: notify} }

// Announce tells what is due and returns when to call it again, `wake` at the latest.
func (a *Announcer) Announce(leader Holder, wake bootclock.Instant) bootclock.Instant {
	if leader.Token != 0 {
		a.since = 0
	}
	if a.told && a.last == leader.Token {
		return wake
	}
	if leader.Token == 0 {
		now := bootclock.Now()
		if a.since == 0 {
			a.since = now
		}
		if due := a.since.Add(vacant); now < due {
			return min(wake, due)
		}
	}
	a.told, a.last = true, leader.Token
	a.notify(Notice{Kind: StandingBy, Holder: leader})
	return wake
}
