package zk

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// What people do to a session or a node is known at once, and its record still
// goes from held to clean.
func TestTakenAway(t *testing.T) {
	t.Parallel()
	r := fast(t).cabled()
	s := r.open()
	for name, strike := range map[string]func(a *run){
		"session ended": func(a *run) { r.endSession(t, a.session().id) },
		"node deleted":  func(a *run) { r.must(r.admin.Delete(r.nodeOf(a), -1)) },
		"node replaced": func(a *run) {
			path := r.nodeOf(a)
			r.must(r.admin.Delete(path, -1))
			_, err := r.admin.Create(path, nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
			r.must(err)
			t.Cleanup(func() { _ = r.admin.Delete(path, -1) })
		},
	} {
		a := r.lead(s, "a")
		began := time.Now()
		strike(a)
		within(t, name, prompt, a.Lease.Lost())
		t.Logf("%s: known after %v", name, time.Since(began))
		if err := a.Lease.Err(); !errors.Is(err, lock.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
		if rec := r.record("e"); rec.State != lock.Held {
			t.Errorf("%s: record %+v", name, rec)
		}
		a.Release()
		if rec := r.record("e"); rec.State != lock.Clean || rec.Owner != a.owner() {
			t.Errorf("%s: record %+v", name, rec)
		}
		for _, path := range r.queue("e") {
			_ = r.admin.Delete(path, -1)
		}
	}
}

func (a *run) session() *session { return a.Lease.(*lease).x }

// A renewal finds the loss when no watch tells of it.
func TestRenewalFindsLoss(t *testing.T) {
	t.Parallel()
	r := fast(t).cabled()
	s := r.open()
	for name, strike := range map[string]func(a *run){
		"session ended": func(a *run) { r.endSession(t, a.session().id) },
		"node deleted":  func(a *run) { r.must(r.admin.Delete(r.nodeOf(a), -1)) },
		"node replaced": func(a *run) {
			path := r.nodeOf(a)
			r.must(r.admin.Delete(path, -1))
			_, err := r.admin.Create(path, nil, zk.FlagPersistent, zk.WorldACL(zk.PermAll))
			r.must(err)
		},
	} {
		a := r.lead(s, "a")
		a.session().stop()
		strike(a)
		within(t, name, testTTL, a.Lease.Lost())
		if !errors.Is(a.Lease.Err(), lock.ErrLost) {
			t.Errorf("%s: %v", name, a.Lease.Err())
		}
		a.Release()
		for _, path := range r.queue("e") {
			r.must(r.admin.Delete(path, -1))
		}
	}
}

// die ends all that a holder does, as the end of its host would.
func (a *run) die() {
	a.Lease.(*lease).Stop()
	x := a.session()
	x.stop()
	c, err := x.pool.Get(context.Background())
	a.must(err)
	x.pool.Drop(c, true)
}

// A session that runs out ends after the deadline, and the next one leads once it
// has settled.
func TestExpiry(t *testing.T) {
	t.Parallel()
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	c := r.standBy(s, "c")
	<-a.Lease.Renewed()
	deadline := a.Lease.ValidUntil()
	began := bootclock.Now()
	a.die()
	eventually(t, "the end of the session", patient, func() bool { return len(r.queue("e")) == 2 })
	gone := bootclock.Now()
	next := b.Wins(patient)
	now := bootclock.Now()
	t.Logf("zookeeper ended the session after %v, %v after the deadline; the next leads %v later",
		gone.Sub(began), gone.Sub(deadline), now.Sub(gone))
	if gone <= deadline {
		t.Error("gone before the deadline")
	}
	if settled := now.Sub(gone); settled < lock.SettleTime*9/10 || settled > lock.SettleTime+prompt {
		t.Errorf("settled for %v", settled)
	}
	c.Waits(100 * time.Millisecond)
	if n := c.Hears(lock.StandingBy, prompt); n.Holder.Token != next.Token() {
		n = c.Hears(lock.StandingBy, prompt) // nobody, before
		if n.Holder.Token != next.Token() {
			t.Errorf("c stands behind %+v", n.Holder)
		}
	}
}

// Whoever comes after the end of a tenure that never said so settles. If it gives
// up meanwhile, the next one settles too.
func TestHeldWithoutHolder(t *testing.T) {
	t.Parallel()
	r := fast(t).cabled()
	s := r.open()
	a := r.lead(s, "a")
	a.die()
	r.endSession(t, a.session().id)
	b := r.start(s, "b")
	b.Waits(lock.SettleTime / 2)
	b.Cancel(errors.New("enough"))
	<-b.Done
	if rec := r.record("e"); rec.State != lock.Held || rec.Token != a.Lease.Token() {
		t.Errorf("record: %+v", rec)
	}
	c := r.start(s, "c")
	c.Waits(lock.SettleTime * 9 / 10)
	if n := c.Hears(lock.StandingBy, prompt); n.Holder != (lock.Holder{}) {
		t.Errorf("stands behind %+v, want nobody", n.Holder)
	}
	c.Wins(prompt)
}

// Who stands behind somebody that never leads settles meanwhile, not after it.
func TestSettlesBehindOthers(t *testing.T) {
	t.Parallel()
	r := fast(t).cabled()
	s := r.open()
	a := r.lead(s, "a")
	between, err := r.admin.Create("/leaderrun/e/queue/other-lock-", nil, zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
	r.must(err)
	b := r.standBy(s, "b")
	a.die()
	r.endSession(t, a.session().id)
	b.Waits(lookAfter + lock.SettleTime)
	r.must(r.admin.Delete(between, -1))
	b.Wins(lock.SettleTime / 2)
	a.Release()
}

// The ticket gives back what another process holds, and the next one leads
// without settling.
func TestTicket(t *testing.T) {
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	a.die()
	other := r.open()
	began := bootclock.Now()
	r.must(other.Release(t.Context(), a.Ticket()))
	b.Wins(prompt)
	t.Logf("leads %v after the release was begun", bootclock.Now().Sub(began))
	r.must(other.Release(t.Context(), a.Ticket()))
	if h, err := other.Locker("e").Holder(t.Context()); err != nil || h.ID != "b" {
		t.Errorf("holder: %+v, %v", h, err)
	}
	for _, data := range []string{"", "{}", `{"election":"e","node":"1"}`} {
		if err := other.Release(t.Context(), lock.Ticket{Data: []byte(data)}); !errors.Is(err, lock.ErrConfig) {
			t.Errorf("ticket %q: %v", data, err)
		}
	}
}

// Whoever deletes an election with all its nodes deletes the record, too. Those who
// saw it settle even so.
func TestElectionDeleted(t *testing.T) {
	t.Parallel()
	r := fast(t)
	a := r.lead(r.open(), "a")
	s := r.open()
	b := r.standBy(s, "b")
	for _, path := range append(r.queue("e"), "/leaderrun/e/queue", "/leaderrun/e/record", "/leaderrun/e") {
		r.must(r.admin.Delete(path, -1))
	}
	within(t, "the loss", prompt, a.Lease.Lost())
	within(t, "b to give up", prompt, b.Done)
	b = r.start(s, "b")
	b.Waits(lock.SettleTime * 9 / 10)
	a.Release()
	if l := b.Wins(prompt); l.Token() <= a.Lease.Token() {
		t.Errorf("token %d after %d", l.Token(), a.Lease.Token())
	}
	b.Release()
	r.start(s, "c").Wins(prompt)
}

// Whoever ends a session takes it to a connection of his own first, and its owner
// takes it back at once. However the two meet, the owner knows of the end before the
// next holder has settled, also with a lease whose requests may take longer.
func TestSessionEndedInPassing(t *testing.T) {
	const ttl = 40 * time.Second
	r := fast(t)
	settings := r.settings()
	var err error
	settings.DefaultTimeout, err = lock.NewRelayedTiming(ttl, 0)
	r.must(err)
	s := r.openWith(settings)
	var longest time.Duration
	for range 60 {
		a := r.startWith(s, lock.Candidate{ID: "a", TTL: ttl})
		a.Wins(patient)
		ended := time.Now()
		for err := r.tryToEnd(a.session().id); err != nil && !errors.Is(err, errExpired); err = r.tryToEnd(a.session().id) {
			ended = time.Now()
		}
		within(t, "the loss", patient, a.Lease.Lost())
		longest = max(longest, time.Since(ended))
		a.Release()
	}
	t.Logf("known after %v at most", longest)
	if longest > lock.SettleTime*3/4 {
		t.Errorf("known only after %v, the next holder settles for %v", longest, lock.SettleTime)
	}
}
