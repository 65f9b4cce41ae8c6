package lock

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Inspector says beforehand what a campaign would meet; part of Locker.
type Inspector interface {
	// Inspect does once what a candidate with these settings does all the time:
	// it connects, gets a lease, and makes, reads, renews and deletes a key of
	// its own with a random name, where a least-privilege role of the election
	// allows it. It takes no part in the election and leaves nothing behind,
	// also if something fails or ctx is done; it returns soon after that.
	//
	// tell gets each finding in the order in which people should read them.
	Inspect(ctx context.Context, c Candidate, tell Tell) Outlook
}

// A Finding is one line of what Inspect found.
type Finding struct {
	Topic   string // one or two words that never change, such as "version"
	Text    string // for people, one line; empty if Err says it
	Warning bool   // a campaign works, but people should mend it
	Err     error  // a campaign does not work; of one of the kinds here
}

// An Outlook is what follows from what a store granted.
type Outlook struct {
	Grant // zero if nothing was
	// Hold is how long the store may keep the lock from others, counted from the
	// last renewal that it answered, once nothing is heard of the holder.
	Hold time.Duration
	// Settle is what the next holder may wait besides, because it cannot know
	// whether the tree of the previous one is dead.
	Settle time.Duration
	// ThisHost: the lock is free at once when the holder's processes or its host
	// are gone. Hold is for processes that are frozen.
	ThisHost bool
}

// Tell takes findings.
type Tell func(Finding)

// OK tells that something is as it should be.
func (t Tell) OK(topic, format string, args ...any) {
	t(Finding{Topic: topic, Text: fmt.Sprintf(format, args...)})
}

// Warn tells of something that people should mend.
func (t Tell) Warn(topic, format string, args ...any) {
	t(Finding{Topic: topic, Text: fmt.Sprintf(format, args...), Warning: true})
}

// Fail tells of something that no campaign gets over.
func (t Tell) Fail(topic string, err error) { t(Finding{Topic: topic, Err: err}) }

// Granted tells what lease was got for the one that was asked for.
func (t Tell) Granted(g Grant, asked time.Duration) {
	switch {
	case g.Lifetime < asked:
		t.Warn("lease", "%v granted where --ttl asks for %v: what was granted counts", g.Lifetime, asked)
	case g.Lifetime > asked:
		t.OK("lease", "%v granted where --ttl asks for %v: what was granted counts", g.Lifetime, asked)
	default:
		t.OK("lease", "%v granted, as --ttl asks", g.Lifetime)
	}
}

// Led tells who leads the election.
func (t Tell) Led(h Holder) {
	if h.Token != 0 {
		t.OK("election", "led by %s on %s with fencing token %d", h.ID, h.Host, h.Token)
	}
}

// A Version is what one server runs, and what is to be said of it.
type Version struct {
	At, Text string
	Warning  bool
}

// Versions tells of those that are the same in one line.
func (t Tell) Versions(list []Version) {
	for i, v := range list {
		var at []string
		first := true
		for j, other := range list {
			if other.Text == v.Text {
				at = append(at, other.At)
				first = first && j >= i
			}
		}
		if first {
			t(Finding{Topic: "version", Text: v.Text + " (at " + strings.Join(at, ", ") + ")", Warning: v.Warning})
		}
	}
}

// renewals are as many as Renewed makes: enough for a median that one slow
// answer does not move.
const renewals = 5

// Renewed renews a few times, each within bound, and tells how long one takes.
// It tells nothing of an error.
func (t Tell) Renewed(ctx context.Context, s Session, bound time.Duration) error {
	var took []time.Duration
	for range renewals {
		began := time.Now()
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, bound)
			defer cancel()
			_, err := s.Renew(ctx)
			return err
		}()
		if err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.OK("renew", "allowed")
	t.OK("round trip", "%v for a renewal (median of %d, the slowest %v); a request may take %v",
		rounded(took[renewals/2]), renewals, rounded(took[renewals-1]), rounded(bound))
	return nil
}

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
