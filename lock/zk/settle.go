package zk

import (
	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// A settling is the wait of the first in the queue for a tenure that did not
// say that it ended. It is over when the record says so, or at `until`: whether a
// session ran out by itself, ZooKeeper does not tell.
type settling struct {
	owner string // of the record that it is about
	until bootclock.Instant
}

// newSettling begins when the place of the owner is seen to be gone.
func newSettling(owner string, gone bootclock.Instant) settling {
	return settling{owner, gone.Add(lock.SettleTime)}
}

// settled tells whether we, being first, may write our record.
func (a *campaign) settled() bool {
	rec := a.v.rec
	if !rec.heldByOther(a.x.owner) {
		a.settle = settling{}
		return true
	}
	if a.settle.owner != rec.Owner {
		// Whoever that was is not in the queue: it went before we looked.
		a.settle = newSettling(rec.Owner, bootclock.Now())
	}
	return bootclock.Now() >= a.settle.until
}
