package lock

import (
	"fmt"
	"sort"
	"time"
)

// Timing is how a lease is renewed, derived from its lifetime alone.
type Timing struct {
	Interval time.Duration // from one renewal's sending to the next
	Request  time.Duration // bound of each attempt to renew, and of every other request to the store
	Margin   time.Duration // between the deadline and the end of the lifetime
	Relay    time.Duration // least pause between two renewals of a relayed lease (see Grant), else 0
	Grace    time.Duration // loss grace: from the stop signal to the deadline
	// MostGrace is what the lifetime leaves for the loss grace besides all that.
	MostGrace time.Duration
}

// Longest pauses for long leases: a lease of a day is still looked at often.
const (
	maxInterval = 30 * time.Second
	maxRequest  = 5 * time.Second
	minMargin   = 250 * time.Millisecond
)

// NewTiming returns the timing for a lease of the given lifetime, or an error
// of kind ErrConfig if the lifetime cannot hold a renewal interval, two
// requests that time out, the loss grace and the margin. It is asked before
// campaigning with the lifetime wanted, and again with the one granted.
func NewTiming(ttl, grace time.Duration) (Timing, error) { return newTiming(directTiming, ttl, grace) }

// NewRelayedTiming is NewTiming for a relayed lease (see Grant). Two intervals
// must fit, because the answer to a renewal proves only the one before it.
func NewRelayedTiming(ttl, grace time.Duration) (Timing, error) {
	return newTiming(relayedTiming, ttl, grace)
}

// Timing is how the lease that was granted to the candidate is renewed. Errors
// are as of NewTiming.
func (g Grant) Timing(c Candidate) (Timing, error) {
	of := directTiming
	if g.Relayed {
		of = relayedTiming
	}
	grace := c.Grace
	if c.GraceYields {
		grace = min(grace, max(0, of(g.Lifetime).MostGrace))
	}
	return newTiming(of, g.Lifetime, grace)
}

func newTiming(of func(time.Duration) Timing, ttl, grace time.Duration) (Timing, error) {
	t := of(ttl)
	t.Grace = grace
	if grace < 0 {
		return t, fmt.Errorf("%w: --loss-grace %v is negative: give a duration from 0", ErrConfig, grace)
	}
	if grace <= t.MostGrace {
		return t, nil
	}
	cure := fmt.Sprintf("set --ttl to at least %v", leastTTL(of, grace))
	if t.MostGrace >= 0 {
		cure += fmt.Sprintf(" or --loss-grace to at most %v", t.MostGrace.Truncate(10*time.Millisecond))
	}
	every := fmt.Sprintf("one every %v", t.Interval)
	if t.Relay > 0 {
		every += " of which the last but one counts"
	}
	return t, fmt.Errorf("%w: a lease (--ttl) of %v cannot hold --loss-grace %v besides its renewals (%s, two requests of %v) and a margin of %v: %s",
		ErrConfig, ttl, grace, every, t.Request, t.Margin, cure)
}

func directTiming(ttl time.Duration) Timing {
	t := Timing{Interval: min(ttl/5, maxInterval), Request: min(ttl/6, maxRequest), Margin: margin(ttl)}
	t.MostGrace = ttl - t.Interval - 2*t.Request - t.Margin
	return t
}

// relayedTiming pauses for half a tick of ZooKeeper and a little more. The tick
// is not known to a client; a session's time-out is at least two of them unless
// the server's minSessionTimeout says otherwise.
func relayedTiming(ttl time.Duration) Timing {
	relay := ttl/4 + 100*time.Millisecond
	t := Timing{Interval: relay * 11 / 10, Request: min(ttl/8, maxRequest), Margin: margin(ttl), Relay: relay}
	t.MostGrace = ttl - 2*t.Interval - 2*t.Request - t.Margin
	return t
}

// retry is the pause after a renewal that failed, `failures` others having failed
// before it: twice as long each time, and up to half shorter by chance, so that a
// store that comes back is not asked by everybody at once. It takes no more than a
// quarter of what is left until the command has to be told to stop (of a relayed
// lease, until what proves an answer has to be sent): who has little left asks as
// often as ever, and nobody stops who could have been renewed.
func (t Timing) retry(failures int, left time.Duration) time.Duration {
	least := t.Request / 10
	most := min(least<<min(failures, 10), t.Request, max(least, (left-t.Grace-t.Relay)/4))
	return Spread(most/2, most)
}

func margin(ttl time.Duration) time.Duration { return max(minMargin, ttl/50) }

// leastTTL is the shortest lifetime, in tenths of a second, that leaves grace.
func leastTTL(of func(time.Duration) Timing, grace time.Duration) time.Duration {
	const step = 100 * time.Millisecond
	enough := 6*int(grace/step) + 40 // a lifetime leaves more than a sixth of itself, but for what is constant
	return step * time.Duration(sort.Search(enough, func(n int) bool { return of(step*time.Duration(n)).MostGrace >= grace }))
}
