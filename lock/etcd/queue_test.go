package etcd

import (
	"errors"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/lock/contract"
	"leaderrun/scripts/servers"
)

// Candidates lead in the order in which they came, with rising tokens.
func TestFIFO(t *testing.T) {
	r := fast(t)
	s := r.open()
	holder := r.lead(s, "a")
	var queue []*run
	for _, id := range []string{"b", "c", "d"} {
		queue = append(queue, r.standBy(s, id))
	}
	for _, next := range queue {
		began := bootclock.Now()
		holder.Release()
		l := next.Wins(prompt)
		t.Logf("hand-over in %v", bootclock.Now().Sub(began))
		if l.Token() <= holder.Lease.Token() {
			t.Errorf("%s: token %d after %d", next.ID, l.Token(), holder.Lease.Token())
		}
		holder = next
	}
}

// A waiter that dies in the middle of the queue lets nobody past the leader,
// and leaves no dead place.
func TestWaiterDies(t *testing.T) {
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	c := r.standBy(s, "c")
	r.ctl("lease", "revoke", b.leaseName())
	within(t, "b to give up", prompt, b.Done)
	if !errors.Is(b.Err, lock.ErrUnavailable) || errors.Is(b.Err, lock.ErrLeftBehind) {
		t.Errorf("b: %v", b.Err)
	}
	c.Waits(500 * time.Millisecond)
	if err := a.Lease.Err(); err != nil {
		t.Fatal(err)
	}
	a.Release()
	c.Wins(prompt)
}

// Elections in quick succession leave nothing behind.
func TestNothingIsLeft(t *testing.T) {
	r := fast(t)
	s := r.open()
	contract.Thousand(t, s, testTTL)
	holder := r.lead(s, "holder")
	for range 20 {
		c := lock.Candidate{ID: "try", TTL: testTTL, Try: true}
		if _, err := s.Locker("e").Acquire(t.Context(), c); !errors.Is(err, lock.ErrHeld) {
			t.Fatal(err)
		}
		b := r.standBy(s, "b")
		b.Cancel(errors.New("enough"))
		<-b.Done
	}
	holder.Release()
	r.must(s.Close())
	if out := r.ctl("lease", "list"); !strings.Contains(out, "found 0 leases") {
		t.Errorf("leases: %s", out)
	}
	if out := r.ctl("get", "--prefix", "--keys-only", "/leaderrun/"); strings.Contains(out, "/queue/") {
		t.Errorf("keys: %s", out)
	}
}

// A key without a lease blocks the queue for ever: people are told which, and
// that they can mend it.
func TestKeyWithoutLease(t *testing.T) {
	r := fast(t)
	s := r.open()
	key := "/leaderrun/e/queue/made by hand"
	r.ctl("put", key, "x")
	a := r.start(s, "a")
	n := a.Hears(lock.Warning, prompt)
	if want := "etcdctl del " + key; !strings.Contains(n.Err.Error(), want) {
		t.Errorf("warning %q, want %q in it", n.Err, want)
	}
	try := lock.Candidate{ID: "try", TTL: testTTL, Try: true}
	if _, err := s.Locker("e").Acquire(t.Context(), try); !errors.Is(err, lock.ErrHeld) {
		t.Error(err)
	}
	r.ctl("del", key)
	a.Wins(prompt)
}

// A record that is none of ours stops everybody who would have to rely on it.
func TestForeignRecord(t *testing.T) {
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	r.ctl("put", "/leaderrun/e/record", "{}")
	within(t, "b to give up", prompt, b.Done)
	c := r.start(s, "c")
	within(t, "c to give up", prompt, c.Done)
	for _, err := range []error{b.Err, c.Err, a.Lease.Release(t.Context())} {
		if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), "/leaderrun/e/record") {
			t.Errorf("%v, want ErrConfig and the key", err)
		}
	}
	if out := r.ctl("get", "--prefix", "--keys-only", "/leaderrun/"); strings.Contains(out, "/queue/") {
		t.Errorf("keys: %s", out)
	}
}

// A request whose answer was lost is made again, and finds its own work.
func TestLostAnswers(t *testing.T) {
	r := fast(t)
	s := r.open()
	l := s.Locker("e").(*locker)
	c := lock.Candidate{ID: "a", TTL: testTTL, Notify: func(lock.Notice) {}}
	x, g, err := s.grant(t.Context(), l.keys, c.TTL)
	r.must(err)
	k, err := lock.Keep(x, g, c)
	r.must(err)
	a := newCampaign(l, c, x, k, g.Lifetime)
	for range 2 {
		r.must(a.enqueue(t.Context()))
	}
	before := a.v
	rev, err := a.win(t.Context())
	if rev == 0 || err != nil {
		t.Fatalf("won: %d, %v", rev, err)
	}
	a.v = before
	if again, err := a.win(t.Context()); again != 0 || err != nil {
		t.Fatalf("won twice: %d, %v", again, err)
	}
	if again, err := a.win(t.Context()); again != rev || err != nil {
		t.Fatalf("found victory %d, %v; want %d", again, err, rev)
	}
	e, err := a.won(rev)
	r.must(err)
	r.must(s.giveBack(t.Context(), l.keys, x.id, e.rec))
	r.must(e.Release(t.Context()))
	if rec := r.record("e"); rec.State != lock.Clean {
		t.Errorf("record: %+v", rec)
	}
}

// etcd has a least TTL, and counts in seconds: what it grants is what counts.
func TestGrantedTTL(t *testing.T) {
	r := newRig(t, servers.EtcdOptions{Fast: true, Args: []string{"--heartbeat-interval=200", "--election-timeout=4000"}})
	s := r.open()
	a := r.startWith(s, lock.Candidate{ID: "a", TTL: 2500 * time.Millisecond})
	l := a.Wins(patient)
	if left := l.ValidUntil().Until(); left < 4*time.Second {
		t.Errorf("%v left of a lease of 6 s", left)
	}
	if ttl := r.record("e").TTL; ttl != 6*time.Second {
		t.Errorf("TTL in the record: %v", ttl)
	}
}

// People are told once of a server that may have two leaders.
func TestOldServer(t *testing.T) {
	r := fast(t)
	s := r.open()
	_, err := s.Locker("e").Holder(t.Context())
	r.must(err)
	s.pool.Current().version = "3.5.12"
	a := r.lead(s, "a")
	if n := a.Hears(lock.Warning, prompt); !strings.Contains(n.Err.Error(), "3.5.13") {
		t.Error(n.Err)
	}
	a.Release()
	a = r.lead(s, "a")
	if len(a.Notices()) != 0 {
		t.Errorf("told again: %v", a.Notices())
	}
}
