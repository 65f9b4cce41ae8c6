//go:build unix

package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"leaderrun/lock"
)

// A StepDown is what a leader is asked: to stop its command politely, give the lock
// back and let others lead first.
//
// It takes two requests. The leader answers the first, and steps down at the second:
// one that was frozen, and hears of the first when nobody waits any more, goes on.
type StepDown struct {
	ID   string `json:"id"` // random, of both
	Sure bool   `json:"sure,omitempty"`
	lock.Handover
}

// stepDown is the Action of its lock.Request.
const stepDown = "step-down"

// answerValue is the name of the value in which the leader answers with the ID.
const answerValue = "step-down"

// Request is what is asked of the tenure.
func (s StepDown) Request(token lock.Token) lock.Request {
	arg, err := json.Marshal(s)
	if err != nil {
		panic(err) // two strings, a number and a bool
	}
	return lock.Request{Token: token, Action: stepDown, Arg: string(arg)}
}

// Answered reports whether the leader has answered the first request.
func (s StepDown) Answered(ctx context.Context, l lock.Locker) (bool, error) {
	answer, err := l.Get(ctx, answerValue)
	return string(answer) == s.ID, err
}

// listenAfter is how long a tenure has to last for requests to it to be watched, which
// costs the store a request: a short job is not to pay for it.
const listenAfter = 250 * time.Millisecond

// asked answers a request to the tenure, and reports whether it is to end.
func (t *tenure) asked(r lock.Request) bool {
	var s StepDown
	if r.Action != stepDown || json.Unmarshal([]byte(r.Arg), &s) != nil {
		return false
	}
	if !s.Sure {
		t.answer(s.ID)
		return false
	}
	ends := t.told != 0 || t.losing || t.givingUp || t.undoing
	if ends || !slices.Contains(t.askers, s.ID) {
		return false
	}
	why := "asked to step down"
	if s.To != "" {
		t.lease.HandOver(s.Handover)
		why += " in favour of " + s.To
	}
	t.giveUp(why)
	return true
}

// answer writes the answer beside whatever else goes on, after the one before.
func (t *tenure) answer(id string) {
	before, done := t.answered, make(chan struct{})
	if !slices.Contains(t.askers, id) { // who asks does so again
		t.askers = append(t.askers, id)
	}
	t.answered = done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		ctx, cancel := context.WithTimeout(t.answering, lookTimeout)
		defer cancel()
		_ = t.lease.Put(ctx, answerValue, []byte(id)) // else who asks sees that none comes
	}()
}

// endAnswers leaves those that are not written yet, which must not delay the release: who
// asked sees that the tenure ends.
func (t *tenure) endAnswers() {
	t.stopAnswers()
	if t.answered != nil {
		<-t.answered
	}
}

// passOn gives back at once a lock that is meant for another candidate, which stands
// behind us in the queue, and reports whether it did. What passes is bounded by the
// hops: that candidate may be gone.
func (r *run) passOn(lease lock.Lease) bool {
	h := lease.Previous().Handover
	if h == nil || h.To == r.Candidate.ID || h.Hops <= 0 || r.Candidate.Try { // who has one attempt takes it
		return false
	}
	lease.HandOver(lock.Handover{To: h.To, Hops: h.Hops - 1})
	r.Listen(Event{Kind: PassedOn, Token: lease.Token(), Cause: fmt.Sprintf("the leader has stepped down in favour of %s", h.To)})
	r.release(lease)
	return true
}

// takeover says how the tenure before ended, of which this is the record.
func (r *run) takeover(previous lock.Record) string {
	switch h := previous.Handover; {
	case previous.State == lock.Held:
		return TakeoverVanished
	case h != nil && h.To == r.Candidate.ID:
		return TakeoverHandedOver
	case previous.State == lock.Clean:
		return TakeoverReleased
	}
	return TakeoverFirst
}
