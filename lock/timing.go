package lock

import (
	"fmt"
	"sort"
	"time"
)

// Timing is how a lease is renewed, derived from its lifetime alone.
type Timing struct {
	Interval time.Duration // from one renewal's sending to the next
	Request  time.Duration // bound of each request to the store
	Margin   time.Duration // between the deadline and the end of the lifetime
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
func NewTiming(ttl, grace time.Duration) (Timing, error) {
	t := timingOf(ttl)
	if grace < 0 {
		return t, fmt.Errorf("%w: --loss-grace %v is negative: give a duration from 0", ErrConfig, grace)
	}
	most := mostGrace(ttl)
	if grace <= most {
		return t, nil
	}
	cure := fmt.Sprintf("set --ttl to at least %v", leastTTL(grace))
	if most >= 0 {
		cure += fmt.Sprintf(" or --loss-grace to at most %v", most.Truncate(10*time.Millisecond))
	}
	return t, fmt.Errorf("%w: a lease (--ttl) of %v cannot hold --loss-grace %v besides its renewals (one every %v, two requests of %v) and a margin of %v: %s",
		ErrConfig, ttl, grace, t.Interval, t.Request, t.Margin, cure)
}

func timingOf(ttl time.Duration) Timing {
	return Timing{
		Interval: min(ttl/5, maxInterval),
		Request:  min(ttl/6, maxRequest),
		Margin:   max(minMargin, ttl/50),
	}
}

// mostGrace is what a lifetime leaves for the loss grace. It grows with the
// lifetime.
func mostGrace(ttl time.Duration) time.Duration {
	t := timingOf(ttl)
	return ttl - t.Interval - 2*t.Request - t.Margin
}

// leastTTL is the shortest lifetime, in tenths of a second, that leaves grace.
func leastTTL(grace time.Duration) time.Duration {
	const step = 100 * time.Millisecond
	enough := 3*int(grace/step) + 10 // a lifetime leaves more than a third of itself, but for the least margin
	return step * time.Duration(sort.Search(enough, func(n int) bool { return mostGrace(step*time.Duration(n)) >= grace }))
}
