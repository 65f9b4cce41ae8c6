package lock

import (
	"time"

	"leaderrun/lock/bootclock"
)

// A renewal is one request that was answered.
type renewal struct {
	sent, answered bootclock.Instant
	lifetime       time.Duration
}

// A proof is what the answered renewals of a lease say of who counts its time.
//
// Where the one who answers also counts, each answer proves its own request. A
// follower of ZooKeeper answers a write when a majority has it, but tells the
// leader that the session is alive only with the leader's next ping, every half
// tick. What it was told by request k is with the leader for certain once an
// answer shows two things: a request m was sent at least half a tick after k was
// answered, so that a ping went out in between; and a request n, sent after m's
// answer, was answered through the leader, which the ping reached before it, in
// order. (STORES.md has the measurements. Requests that were not answered count
// for nothing, and so does the plan: after a freeze the pause between two
// requests is not the one that was meant.)
type proof struct {
	relay time.Duration // zero: the one who answers counts
	past  []renewal     // answered, oldest first; the first may be the k of the next n
}

// by returns the newest renewal that is proven by n, the latest. Its lifetime is
// the shortest that was granted since.
func (p *proof) by(n renewal) (proven renewal, ok bool) {
	if p.relay == 0 {
		return n, true
	}
	defer func() { p.past = append(p.past, n) }()
	if len(p.past) == 0 {
		return renewal{}, false
	}
	m, k := p.past[len(p.past)-1], len(p.past)-1
	for k >= 0 && m.sent < p.past[k].answered.Add(p.relay) {
		k--
	}
	if k < 0 {
		return renewal{}, false
	}
	p.past = p.past[k:]
	proven = p.past[0]
	for _, r := range p.past[1:] {
		proven.lifetime = min(proven.lifetime, r.lifetime)
	}
	proven.lifetime = min(proven.lifetime, n.lifetime)
	return proven, true
}
