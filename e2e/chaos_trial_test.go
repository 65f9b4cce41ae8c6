//go:build linux

package e2e

import "time"

// A trial is what one election went through in a fault run. Every instant is of
// CLOCK_BOOTTIME, the clock of the beats, of the guards' deadlines and of the faults.
type trial struct {
	store    string        // the kind's name
	ttl      time.Duration // of every candidate
	outlives time.Duration // how long after its last renewal a lease is gone at the latest
	began    instant
	ended    instant

	history *history             // the beats, as tenures
	guards  map[uint64]guardSeen // by fencing token
	holds   []hold               // as the store showed them, in order
	faults  []fault              // in the order of their beginnings
	pauses  pauses               // of the machine, in order
	losses  []loss               // in order
	left    []proc               // what still ran when all was over
}

// guardSeen is what was seen of a tenure's guard: its deadline, read from the
// kernel's timer (/proc/PID/fdinfo of its timerfd) from outside.
type guardSeen struct {
	pid      int
	deadline instant       // the latest that was seen; deadlines only move forward
	seen     instant       // when
	gap      time.Duration // the longest time between two looks while it was alive
}

// A hold is one spell of the lock being held, as a watcher of the store saw it: it
// certainly began before seen and was certainly over at gone.
type hold struct {
	candidate string
	token     uint64  // 0 if the store does not show it
	seen      instant // first answer that showed it
	last      instant // when the last request was sent whose answer showed it
	gone      instant // first answer that did not; 0 if it never went
}

// A fault is something that was done to an election.
type fault struct {
	kind     string
	from, to instant  // to: undone, or, of what is done in an instant, from
	hits     []string // ids of the candidates it was done to; none: to the store, so to all
	leader   uint64   // fencing token of the leader, if it was hit; else 0

	// mayEnd: a tenure of a candidate that it hits may be lost by it. Of what is
	// over before the deadline it is false: such a loss is needless.
	mayEnd bool
	// blocks: while it lasts nobody can be elected.
	blocks bool
	// said: a limit that the README names (DESIGN.md, promise 4); what comes of it is
	// reported apart and is no breach.
	said bool
}

// A loss is a tenure that ended though nobody wanted it to: the candidate's log says
// "lost", or its child was stopped because renewals failed.
type loss struct {
	candidate string
	token     uint64
	at        instant
	why       string
}
