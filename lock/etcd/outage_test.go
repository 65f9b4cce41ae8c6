package etcd

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
	r := fast(t)
	p := servers.NewProxy(t, r.etcd.Endpoints()[0])
	a := r.lead(r.open(p.Addr()), "a")
	b := r.standBy(r.open(), "b")
	a.Survives(1, prompt)
	p.Hold()
	a.Hears(lock.RenewalFailing, testTTL)
	within(t, "the loss", testTTL, a.Lease.Lost())
	now, deadline := bootclock.Now(), a.Lease.ValidUntil()
	if !errors.Is(a.Lease.Err(), lock.ErrExpired) || now < deadline || now.Sub(deadline) > 100*time.Millisecond {
		t.Errorf("lost %v after the deadline: %v", now.Sub(deadline), a.Lease.Err())
	}
	b.Waits(0)
	l := b.Wins(testTTL)
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
	r := fast(t)
	for name, offset := range map[string]time.Duration{"after a renewal": 0, "before a renewal": 450 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rig{t, r.etcd}
			p := servers.NewProxy(t, r.etcd.Endpoints()[0])
			s := r.open(p.Addr())
			lost := s.Locker(name)
			l, err := lost.Acquire(t.Context(), lock.Candidate{ID: "a", TTL: testTTL, Grace: testTTL / 3})
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
	r := fast(t)
	p := servers.NewProxy(t, r.etcd.Endpoints()[0])
	s := r.open(p.Addr(), r.etcd.Endpoints()[0])
	a := r.lead(s, "a")
	b := r.standBy(r.open(p.Addr(), r.etcd.Endpoints()[0]), "b")
	if c := s.pool.Current(); c.endpoint != p.Addr() {
		t.Fatalf("connected to %s", c.endpoint)
	}
	p.Hold()
	a.Survives(6, 2*testTTL)
	began := bootclock.Now()
	a.Release()
	b.Wins(prompt) // its watches have moved as well
	t.Logf("hand-over in %v", bootclock.Now().Sub(began))
}

// A watch that was cut tells what happened meanwhile, also when etcd has thrown
// it away.
func TestWatchMisses(t *testing.T) {
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	for _, compact := range []bool{false, true} {
		b := r.standBy(s, "b")
		c := r.standBy(s, "c")
		_, rev, err := s.read(t.Context(), "x")
		r.must(err)
		p := servers.NewProxy(t, r.etcd.Endpoints()[0])
		other := r.open(p.Addr())
		d := r.start(other, "d")
		d.Hears(lock.StandingBy, prompt)
		p.Hold()
		a.Release()
		r.must(b.Wins(prompt).Release(t.Context()))
		r.must(c.Wins(prompt).Release(t.Context()))
		if compact {
			r.compact(s, rev)
		}
		d.Waits(100 * time.Millisecond)
		p.Resume()
		began := bootclock.Now()
		d.Wins(testTTL)
		t.Logf("leads %v after the outage", bootclock.Now().Sub(began))
		a = d
	}
}

func (r *rig) compact(s *Store, atLeast int64) {
	_, rev, err := s.read(r.Context(), "x")
	r.must(err)
	if rev <= atLeast {
		r.Fatalf("revision %d", rev)
	}
	r.ctl("compact", "--physical", itoa(rev))
}

// etcd may be killed and come back within the TTL.
func TestRestart(t *testing.T) {
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(r.open(), "b")
	a.Survives(1, prompt)
	r.must(r.etcd.Kill(0))
	r.must(r.etcd.Restart(0))
	a.Survives(3, testTTL)
	b.Waits(0)
	a.Release()
	b.Wins(prompt)
}

// The cluster may lose its leader, the member that we talk to may freeze.
func TestMembers(t *testing.T) {
	r := newRig(t, servers.EtcdOptions{Nodes: 3, Fast: true})
	const ttl = 8 * time.Second // an election of etcd takes up to two seconds and more
	s := r.open()
	a := r.startWith(s, lock.Candidate{ID: "a", TTL: ttl, Grace: ttl / 4})
	a.Wins(patient)
	b := r.startWith(r.open(), lock.Candidate{ID: "b", TTL: ttl, Grace: ttl / 4})
	b.Hears(lock.StandingBy, patient)

	leader, err := r.etcd.Leader()
	r.must(err)
	r.must(r.etcd.Kill(leader))
	a.Survives(2, ttl)
	r.must(r.etcd.Restart(leader))

	at := s.pool.Current().endpoint
	for i, e := range r.etcd.Endpoints() {
		if e == at {
			r.must(r.etcd.Pause(i))
			defer func() { r.must(r.etcd.Resume(i)) }()
		}
	}
	a.Survives(3, ttl)
	b.Waits(0)
	a.Release()
	b.Wins(ttl)
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
	s := r.open(silent.Addr().String(), refusing.Addr().String(), r.etcd.Endpoints()[0])
	began := bootclock.Now()
	_, err = s.Locker("e").Holder(t.Context())
	r.must(err)
	if took := bootclock.Now().Sub(began); took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
	s = r.open(refusing.Addr().String())
	_, err = s.Locker("e").Holder(t.Context())
	if !errors.Is(err, lock.ErrUnavailable) {
		t.Error(err)
	}
	t.Log(err)
	s = r.open(silent.Addr().String(), refusing.Addr().String())
	_, err = s.Locker("e").Holder(t.Context())
	if !errors.Is(err, lock.ErrUnavailable) {
		t.Error(err)
	}
	t.Log(err)
	r.must(s.Close())
	if _, err = s.Locker("e").Holder(t.Context()); !errors.Is(err, lock.ErrUnavailable) {
		t.Error(err)
	}
}
