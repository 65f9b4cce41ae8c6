package etcd

import (
	"errors"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// What people do to a lease or a key is known at once, and its record still
// goes from held to clean.
func TestTakenAway(t *testing.T) {
	r := fast(t)
	s := r.open()
	for name, strike := range map[string]func(lease string){
		"lease revoked": func(lease string) { r.ctl("lease", "revoke", lease) },
		"key deleted":   func(lease string) { r.ctl("del", "/leaderrun/e/queue/"+lease) },
		"key replaced":  func(lease string) { r.ctl("put", "/leaderrun/e/queue/"+lease, "x") },
	} {
		a := r.lead(s, "a")
		lease := a.leaseName()
		began := time.Now()
		strike(lease)
		within(t, name, prompt, a.Lease.Lost())
		t.Logf("%s: known after %v, etcdctl included", name, time.Since(began))
		if err := a.Lease.Err(); !errors.Is(err, lock.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
		if rec := r.record("e"); rec.State != lock.Held {
			t.Errorf("%s: record %+v", name, rec)
		}
		a.Release()
		if rec := r.record("e"); rec.State != lock.Clean || rec.Owner != lease {
			t.Errorf("%s: record %+v", name, rec)
		}
	}
}

// A renewal finds the loss when no watch tells of it.
func TestRenewalFindsLoss(t *testing.T) {
	r := fast(t)
	s := r.open()
	for name, strike := range map[string]func(lease string){
		"lease revoked": func(lease string) { r.ctl("lease", "revoke", lease) },
		"key deleted":   func(lease string) { r.ctl("del", "/leaderrun/e/queue/"+lease) },
		"key made anew": func(lease string) {
			r.ctl("del", "/leaderrun/e/queue/"+lease)
			r.ctl("put", "/leaderrun/e/queue/"+lease, "x")
			r.ctl("del", "/leaderrun/e/queue/"+lease)
		},
	} {
		a := r.lead(s, "a")
		e := a.Lease.(*lease)
		e.x.stop()
		strike(a.leaseName())
		within(t, name, testTTL, e.Lost())
		if !errors.Is(e.Err(), lock.ErrLost) {
			t.Errorf("%s: %v", name, e.Err())
		}
		a.Release()
	}
}

// die ends all that a holder does, as the end of its host would.
func (a *run) die() {
	e := a.Lease.(*lease)
	e.Stop()
	e.x.stop()
}

// A lease that ran out needs no settling: the child was dead before.
func TestNaturalExpiry(t *testing.T) {
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	c := r.standBy(s, "c")
	deadline := a.Lease.ValidUntil()
	key := "/leaderrun/e/queue/" + a.leaseName()
	began := bootclock.Now()
	a.die()
	eventually(t, "the end of the lease", patient, func() bool {
		return strings.TrimSpace(r.ctl("get", "--keys-only", key)) == ""
	})
	gone := bootclock.Now()
	next := b.Wins(patient)
	now := bootclock.Now()
	t.Logf("etcd ended the lease after %v; the next leads %v later, %v after the deadline",
		gone.Sub(began), now.Sub(gone), now.Sub(deadline))
	if now <= deadline {
		t.Error("leads before the deadline of the one before")
	}
	if now.Sub(gone) > lock.SettleTime/2 {
		t.Error("settled for a lease that ran out")
	}
	c.Waits(100 * time.Millisecond)
	if n := c.Hears(lock.StandingBy, prompt); n.Holder.Token != next.Token() {
		t.Errorf("c stands behind %+v", n.Holder)
	}
}

// Whoever comes after the end of a tenure that never said so knows nothing of
// how it ended, and settles. If it gives up meanwhile, the next one settles too.
func TestHeldWithoutHolder(t *testing.T) {
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	a.die()
	r.ctl("lease", "revoke", a.leaseName())
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
	for _, data := range []string{"", "{}", `{"election":"e","lease":"1"}`} {
		if err := other.Release(t.Context(), lock.Ticket{Data: []byte(data)}); !errors.Is(err, lock.ErrConfig) {
			t.Errorf("ticket %q: %v", data, err)
		}
	}
}

// The end of a lease is known only from an unbroken row of answers up to it.
func TestExpiry(t *testing.T) {
	const second = bootclock.Instant(time.Second)
	at := func(s float64) bootclock.Instant { return bootclock.Instant(s * float64(second)) }
	var e expiry
	end := func(gone, want float64, ok bool) {
		t.Helper()
		if got, known := e.end(at(gone)); known != ok || got != at(want) {
			t.Errorf("gone at %v: %v, %v; want %v, %v", gone, time.Duration(got), known, want, ok)
		}
	}
	end(0, 0, false)
	e.note(at(10), at(10.1), 2)
	end(10.2, 0, false)
	e.note(at(11), at(11.1), 1)
	e.note(at(12), at(12.1), 0)
	e.note(at(12.25), at(12.3), 0)
	end(12.5, 13.1, true)         // revoked in its last second, perhaps
	end(12.8, 0, false)           // not seen for too long
	e.note(at(12.5), at(12.6), 1) // renewed
	end(12.7, 0, false)
	e.note(at(13.5), at(13.6), 0)
	end(13.7, 14.6, true)
	if _, ok := (*expiry)(nil).end(at(1)); ok {
		t.Error("knows without having asked")
	}
}

// Whoever deletes the whole election takes the record away with the lock: those
// who stood by remember it, and settle.
func TestElectionDeleted(t *testing.T) {
	r := fast(t)
	a := r.lead(r.open(), "a")
	s := r.open()
	b := r.standBy(s, "b")
	began := time.Now()
	r.ctl("del", "--prefix", "/leaderrun/e/")
	within(t, "the loss", prompt, a.Lease.Lost())
	within(t, "the end of the other's campaign: its place is gone, too", prompt, b.Done)
	b = r.lead(s, "b again")
	if took := time.Since(began); took < lock.SettleTime*9/10 {
		t.Errorf("settled for %v only", took)
	}
	b.Release()
}
