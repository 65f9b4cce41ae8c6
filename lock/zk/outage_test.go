package zk

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

// A connection that swallows everything ends the tenure at the deadline, not a
// moment later, and nobody leads before.
func TestHeldConnection(t *testing.T) {
	t.Parallel()
	r := fast(t)
	p := servers.NewProxy(t, r.zoo.Endpoints()[0])
	a := r.lead(r.open(p.Addr()), "a")
	b := r.standBy(r.open(), "b")
	a.Survives(1, testTTL)
	p.Hold()
	a.Hears(lock.RenewalFailing, testTTL)
	within(t, "the loss", testTTL, a.Lease.Lost())
	now, deadline := bootclock.Now(), a.Lease.ValidUntil()
	if !errors.Is(a.Lease.Err(), lock.ErrExpired) || now < deadline || now.Sub(deadline) > 100*time.Millisecond {
		t.Errorf("lost %v after the deadline: %v", now.Sub(deadline), a.Lease.Err())
	}
	b.Waits(0)
	l := b.Wins(testTTL + lock.SettleTime)
	t.Logf("the next leads %v after the deadline", bootclock.Now().Sub(deadline))
	p.Resume()
	a.Release() // too late, and harmless
	if err := l.Err(); err != nil {
		t.Error(err)
	}
	if rec := r.record("e"); rec.State != lock.Held || rec.Token != l.Token() {
		t.Errorf("record: %+v", rec)
	}
}

// An outage of a third of the TTL costs nothing, whenever it begins.
func TestShortOutage(t *testing.T) {
	t.Parallel()
	r := fast(t)
	const ttl = 6 * time.Second
	for name, offset := range map[string]time.Duration{"after a renewal": 0, "before a renewal": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rig{T: t, zoo: r.zoo, admin: r.admin}
			p := servers.NewProxy(t, r.zoo.Endpoints()[0])
			s := r.open(p.Addr())
			l, err := s.Locker(name).Acquire(t.Context(), lock.Candidate{ID: "a", TTL: ttl})
			r.must(err)
			a := &run{r, contract.Holding(r.T, l)}
			a.Survives(1, ttl)
			<-time.After(offset)
			p.Hold()
			<-time.After(ttl / 3)
			p.Resume()
			began := bootclock.Now()
			a.Survives(1, ttl)
			t.Logf("renewed %v after the outage", bootclock.Now().Sub(began))
			a.Survives(2, ttl)
			p.Reset()
			a.Survives(2, ttl)
			a.Release()
		})
	}
}

// A renewal that is not answered is sent to the next address.
func TestNextAddress(t *testing.T) {
	t.Parallel()
	r := fast(t)
	p := servers.NewProxy(t, r.zoo.Endpoints()[0])
	s := r.open(p.Addr(), r.zoo.Endpoints()[0])
	a := r.lead(s, "a")
	b := r.standBy(r.open(p.Addr(), r.zoo.Endpoints()[0]), "b")
	if c := a.session().pool.Current(); c.endpoint != p.Addr() {
		t.Fatalf("connected to %s", c.endpoint)
	}
	p.Hold()
	a.Survives(3, 2*testTTL)
	began := bootclock.Now()
	a.Release()
	b.Wins(prompt) // its watches have moved as well
	t.Logf("hand-over in %v", bootclock.Now().Sub(began))
}

// What happens while a watch is cut is found afterwards.
func TestWatchMisses(t *testing.T) {
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	p := servers.NewProxy(t, r.zoo.Endpoints()[0])
	d := r.start(r.open(p.Addr()), "d")
	d.Hears(lock.StandingBy, prompt)
	p.Hold()
	a.Release()
	r.must(b.Wins(prompt).Release(t.Context()))
	d.Waits(100 * time.Millisecond)
	p.Resume()
	began := bootclock.Now()
	d.Wins(testTTL)
	t.Logf("leads %v after the outage", bootclock.Now().Sub(began))
}

// ZooKeeper may be killed and come back within the TTL; a freeze is no different.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ZooKeeperOptions{})
	s := r.open()
	const ttl = 10 * time.Second // a JVM takes its time to start
	a := r.startWith(s, lock.Candidate{ID: "a", TTL: ttl})
	a.Wins(patient)
	b := r.startWith(r.open(), lock.Candidate{ID: "b", TTL: ttl})
	b.Hears(lock.StandingBy, patient)
	a.Survives(1, ttl)
	r.must(r.zoo.Kill(0))
	r.must(r.zoo.Restart(0))
	a.Survives(3, 2*ttl)
	b.Waits(0)
	r.must(r.zoo.Pause(0))
	<-time.After(ttl / 4)
	r.must(r.zoo.Resume(0))
	a.Survives(2, 2*ttl)
	b.Waits(0)
	a.Release()
	b.Wins(patient)
}

// An outage that is longer than the lease ends it at the deadline; afterwards
// somebody leads again.
func TestLongOutage(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ZooKeeperOptions{})
	a := r.lead(r.open(), "a")
	b := r.standBy(r.open(), "b")
	a.Survives(1, testTTL)
	r.must(r.zoo.Kill(0))
	within(t, "the loss", 2*testTTL, a.Lease.Lost())
	if late := -a.Lease.ValidUntil().Until(); late < 0 || late > 100*time.Millisecond || !errors.Is(a.Lease.Err(), lock.ErrExpired) {
		t.Errorf("lost %v after the deadline: %v", late, a.Lease.Err())
	}
	within(t, "b to lose its place", 2*testTTL, b.Done)
	if !errors.Is(b.Err, lock.ErrUnavailable) || !errors.Is(b.Err, lock.ErrLeftBehind) {
		t.Errorf("b: %v", b.Err)
	}
	r.must(r.zoo.Restart(0))
	a.Release()
	r.lead(r.open(), "c").Release()
}

// Addresses that refuse, or say nothing, do not keep us from one that answers.
func TestRace(t *testing.T) {
	r := fast(t)
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	defer silent.Close() //nolint:errcheck // a test
	r.must(refusing.Close())
	s := r.open(silent.Addr().String(), refusing.Addr().String(), r.zoo.Endpoints()[0])
	began := bootclock.Now()
	_, err = s.Locker("e").Holder(t.Context())
	r.must(err)
	if took := bootclock.Now().Sub(began); took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
	for _, hosts := range [][]string{
		{refusing.Addr().String()},
		{silent.Addr().String(), refusing.Addr().String()},
	} {
		_, err = r.open(hosts...).Locker("e").Holder(t.Context())
		if !errors.Is(err, lock.ErrUnavailable) {
			t.Error(err)
		}
		t.Log(err)
	}
	r.must(s.Close())
	if _, err = s.Locker("e").Holder(t.Context()); !errors.Is(err, lock.ErrUnavailable) {
		t.Error(err)
	}
}
