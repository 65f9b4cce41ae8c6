package consul

import (
	"errors"
	"net"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/lock/contract"
	"leaderrun/scripts/servers"
)

// expires waits for the loss, which must come at the deadline and not later than a
// loaded machine needs to tell.
func (a *run) expires() (deadline bootclock.Instant) {
	a.Helper()
	within(a.T, "the loss", 2*testTTL, a.Lease.Lost())
	now, deadline := bootclock.Now(), a.Lease.ValidUntil()
	if !errors.Is(a.Lease.Err(), lock.ErrExpired) || now < deadline || now.Sub(deadline) > 500*time.Millisecond {
		a.Errorf("lost %v after the deadline: %v", now.Sub(deadline), a.Lease.Err())
	}
	return deadline
}

// A connection that swallows everything ends the tenure at the deadline, not a
// moment later, and nobody leads before.
func TestHeldConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{})
	p := servers.NewProxy(t, r.consul.Endpoints()[0])
	a := r.lead(r.open(p.Addr()), "a")
	b := r.standBy(r.open(), "b")
	a.Survives(1, prompt)
	p.Hold()
	t.Log(a.Hears(lock.RenewalFailing, testTTL).Err)
	deadline := a.expires()
	b.Waits(0)
	l := b.Wins(2*testTTL + lock.SettleTime)
	t.Logf("the next leads %v after the deadline", bootclock.Now().Sub(deadline))
	p.Resume()
	a.Release() // too late, and harmless
	r.must(l.Err())
	if rec := r.record("e"); rec.State != lock.Held || rec.Token != l.Token() {
		t.Errorf("record: %+v", rec)
	}
}

// An outage of a third of the TTL costs nothing, whenever it begins.
func TestShortOutage(t *testing.T) {
	all := newRig(t, servers.ConsulOptions{})
	for name, offset := range map[string]time.Duration{"after a renewal": 0, "before a renewal": 450 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := all.on(t)
			p := servers.NewProxy(t, r.consul.Endpoints()[0])
			l, err := r.open(p.Addr()).Locker(name).Acquire(t.Context(), lock.Candidate{ID: "a", TTL: testTTL, Grace: testTTL / 3})
			r.must(err)
			a := &run{r, contract.Holding(r.T, l)}
			a.Survives(1, prompt)
			<-time.After(offset)
			p.Hold()
			<-time.After(testTTL / 3)
			p.Resume()
			began := bootclock.Now()
			a.Survives(1, prompt)
			t.Logf("renewed %v after the outage", bootclock.Now().Sub(began))
			a.Survives(2, 2*prompt)
			p.Reset()
			a.Survives(2, 2*prompt)
			a.Release()
		})
	}
}

// A renewal that is not answered is sent to the next address.
func TestNextAddress(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	p := servers.NewProxy(t, r.consul.Endpoints()[0])
	s := r.open(p.Addr(), r.consul.Endpoints()[0])
	a := r.lead(s, "a")
	b := r.standBy(r.open(p.Addr(), r.consul.Endpoints()[0]), "b")
	if l := s.pool.Current(); l.endpoint != p.Addr() {
		t.Fatalf("uses %s", l.endpoint)
	}
	p.Hold()
	a.Survives(6, 2*testTTL)
	began := bootclock.Now()
	a.Release()
	b.Wins(prompt) // its watch has moved as well
	t.Logf("hand-over in %v", bootclock.Now().Sub(began))
}

// A watch that was cut finds what happened meanwhile.
func TestWatchMisses(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	p := servers.NewProxy(t, r.consul.Endpoints()[0])
	d := r.start(r.open(p.Addr()), "d")
	d.Hears(lock.StandingBy, prompt)
	p.Hold()
	a.Release()
	b.Wins(prompt).Release(t.Context()) //nolint:errcheck // looked at below
	d.Waits(100 * time.Millisecond)
	p.Resume()
	began := bootclock.Now()
	d.Wins(testTTL)
	t.Logf("leads %v after the outage", bootclock.Now().Sub(began))
}

// Addresses that refuse, or say nothing, do not keep us from one that answers.
func TestRace(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	defer silent.Close() //nolint:errcheck // a test
	r.must(refusing.Close())
	s := r.open(silent.Addr().String(), refusing.Addr().String(), r.consul.Endpoints()[0])
	began := bootclock.Now()
	_, err = s.Locker("e").Holder(t.Context())
	r.must(err)
	if took := bootclock.Now().Sub(began); took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
	for _, hosts := range [][]string{{refusing.Addr().String()}, {silent.Addr().String(), refusing.Addr().String()}} {
		s = r.open(hosts...)
		_, err = s.Locker("e").Holder(t.Context())
		t.Log(err)
		if !errors.Is(err, lock.ErrUnavailable) {
			t.Error(err)
		}
	}
	r.must(s.Close())
	if _, err = s.Locker("e").Holder(t.Context()); !errors.Is(err, lock.ErrUnavailable) {
		t.Error(err)
	}
}
