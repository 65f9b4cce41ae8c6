package consul

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

// strikes are what people do to a session or a key, by name.
func (r *rig) strikes() map[string]func(session string) {
	return map[string]func(string){
		"session destroyed": r.destroy,
		"key deleted":       func(string) { r.del("e", ".lock") },
		"key made anew": func(string) {
			r.del("e", ".lock")
			r.put("e", ".lock", "x")
			r.del("e", ".lock")
		},
		"node removed": func(string) {
			_, err := r.admin.Catalog().Deregister(&api.CatalogDeregistration{Node: sessionNode}, nil)
			r.must(err)
		},
		"key released": func(session string) {
			ok, _, err := r.admin.KV().Release(&api.KVPair{Key: "leaderrun/e/.lock", Flags: lockFlags, Session: session}, nil)
			if !ok || err != nil {
				r.Fatal(ok, err)
			}
		},
	}
}

// What people do to a session or a key is known at once, and its record still
// goes from held to clean.
func TestTakenAway(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	for name, strike := range r.strikes() {
		a := r.lead(s, "a")
		session := a.session()
		began := time.Now()
		strike(session)
		within(t, name, prompt, a.Lease.Lost())
		t.Logf("%s: known after %v", name, time.Since(began))
		if err := a.Lease.Err(); !errors.Is(err, lock.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
		if rec := r.record("e"); rec.State != lock.Held {
			t.Errorf("%s: record %+v", name, rec)
		}
		a.Release()
		if rec := r.record("e"); rec.State != lock.Clean || rec.Owner != session {
			t.Errorf("%s: record %+v", name, rec)
		}
	}
}

// A renewal finds the loss when no watch tells of it.
func TestRenewalFindsLoss(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	for name, strike := range r.strikes() {
		a := r.lead(s, "a")
		e := a.Lease.(*lease)
		e.x.stop()
		strike(a.session())
		within(t, name, testTTL, e.Lost())
		if !errors.Is(e.Err(), lock.ErrLost) {
			t.Errorf("%s: %v", name, e.Err())
		}
		a.Release()
	}
}

// A new value of the key takes no lock from anybody.
func TestValueOfTheKey(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	r.put("e", ".lock", "a note")
	a.Survives(2, testTTL)
	b.Waits(0)
	c := r.standBy(s, "c")
	for _, waiter := range []*run{b, c} {
		if len(waiter.Notices()) != 0 { // above all none to delete the key of one who leads
			t.Errorf("%s was told: %v", waiter.ID, waiter.Notices()[0].Err)
		}
	}
	// The end of a session leaves the key as it is, without our flags.
	r.destroy(a.session())
	within(t, "the loss", prompt, a.Lease.Lost())
	a.Release()
	first, second := b, c
	select {
	case <-b.Done:
	case <-c.Done:
		first, second = c, b
	case <-time.After(patient):
		t.Fatal("nobody takes the key over")
	}
	first.Wins(patient)
	first.Release()
	second.Wins(prompt)
	second.Release()
	r.put("e", ".lock", "another note")
	r.lead(s, "d").Release()
	l, err := s.Locker("e").Acquire(t.Context(), lock.Candidate{ID: "e", TTL: testTTL, Try: true})
	r.must(err)
	r.must(l.Release(t.Context()))
}

// die ends all that a holder does, as the end of its host would.
func (a *run) die() {
	e := a.Lease.(*lease)
	e.Stop()
	e.x.stop()
}

// Consul ends a session that is not renewed after up to twice its TTL, and the next
// holder settles after that: it cannot know that nobody destroyed it.
func TestExpiry(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	a.Survives(1, testTTL)
	deadline := a.Lease.ValidUntil()
	a.die()
	eventually(t, "the end of the session", patient, func() bool { return len(r.sessions()) == 1 })
	gone := bootclock.Now()
	b.Waits(lock.SettleTime / 2)
	b.Wins(lock.SettleTime)
	t.Logf("consul ended the session %v after the deadline; the next leads %v later", gone.Sub(deadline), bootclock.Now().Sub(gone))
	if gone < deadline {
		t.Error("the session ended before the deadline")
	}
}

// Whoever comes after the end of a tenure that never said so knows nothing of
// how it ended, and settles. If it gives up meanwhile, the next one settles too.
func TestHeldWithoutHolder(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	a := r.lead(s, "a")
	a.die()
	r.destroy(a.session())
	b := r.start(s, "b")
	b.Waits(lock.SettleTime / 2)
	b.Cancel(errors.New("enough"))
	<-b.Done
	if rec := r.record("e"); rec.State != lock.Held || rec.Token != a.Lease.Token() {
		t.Errorf("record: %+v", rec)
	}
	c := r.start(s, "c")
	d := r.start(s, "d")
	c.Waits(lock.SettleTime * 9 / 10)
	d.Waits(0)
	if n := c.Hears(lock.StandingBy, prompt); n.Holder != (lock.Holder{}) {
		t.Errorf("stands behind %+v, want nobody", n.Holder)
	}
	select {
	case <-c.Done:
		c.Wins(patient)
	case <-d.Done:
		d.Wins(patient)
	case <-time.After(prompt):
		t.Fatal("nobody leads")
	}
}

// The ticket gives back what another process holds, and the next one leads
// without settling.
func TestTicket(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
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
	for _, data := range []string{"", "{}", `{"election":"e","session":"1"}`} {
		if err := other.Release(t.Context(), lock.Ticket{Data: []byte(data)}); !errors.Is(err, lock.ErrConfig) {
			t.Errorf("ticket %q: %v", data, err)
		}
	}
}

// A value that Consul does not take is refused in one line, and harms nothing.
func TestLargeValue(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	a := r.lead(r.open(), "a")
	r.must(a.Lease.Put(t.Context(), "key", make([]byte, 380<<10)))
	err := a.Lease.Put(t.Context(), "key", make([]byte, 600<<10))
	t.Log(err)
	if !errors.Is(err, lock.ErrConfig) {
		t.Errorf("%v, want ErrConfig", err)
	}
	a.Survives(1, testTTL)
}

// Whoever deletes the whole election takes the record away with the lock: those
// who stood by remember it, and settle.
func TestElectionDeleted(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	a := r.lead(r.open(), "a")
	b := r.standBy(r.open(), "b")
	began := time.Now()
	_, err := r.admin.KV().DeleteTree("leaderrun/e/", nil)
	r.must(err)
	within(t, "the loss", prompt, a.Lease.Lost())
	b.Wins(lock.SettleTime + patient)
	if took := time.Since(began); took < lock.SettleTime*9/10 {
		t.Errorf("settled for %v only", took)
	}
	b.Release()
}

// The same for one in the middle of the queue, who last saw that nobody led.
func TestElectionDeletedUnseen(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	r.lead(r.open(), "a").Release()
	a := r.campaign(s, "c")
	r.lead(r.open(), "b")
	_, err := r.admin.KV().DeleteTree("leaderrun/e/", nil)
	r.must(err)
	r.must(a.look(t.Context()))
	r.must(a.acquire(t.Context()))
	if a.key.session != a.x.id || a.settled() {
		t.Errorf("does not settle: %+v, %+v", a.key, a.rec)
	}
}
