package zk

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

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
	r.must(r.admin.Delete(r.nodeOf(b), -1))
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

// nodeOf finds the place of a candidate.
func (r *rig) nodeOf(a *run) string {
	r.Helper()
	for _, path := range r.queue("e") {
		if strings.Contains(path, a.owner()) {
			return path
		}
	}
	r.Fatalf("%s is not in the queue", a.ID)
	return ""
}

// Elections in quick succession leave nothing behind.
func TestNothingIsLeft(t *testing.T) {
	r := fast(t)
	before := r.sessions()
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
	if left := r.sessions(); len(left) > len(before) {
		t.Errorf("sessions: %v, before %v", left, before)
	}
	for _, election := range []string{"e", "thousand"} {
		if left := r.queue(election); len(left) > 0 {
			t.Errorf("queue: %v", left)
		}
	}
}

// sessions returns the ids that the server knows.
func (r *rig) sessions() (ids []string) {
	r.Helper()
	conn, err := net.Dial("tcp", r.zoo.Endpoints()[0])
	r.must(err)
	defer conn.Close()
	_, err = io.WriteString(conn, "dump")
	r.must(err)
	out, err := io.ReadAll(conn)
	r.must(err)
	for line := range strings.Lines(string(out)) {
		if id := strings.TrimSpace(line); strings.HasPrefix(id, "0x") && !strings.HasSuffix(id, ":") {
			ids = append(ids, id)
		}
	}
	return ids
}

// A node without a session blocks the queue for ever: people are told which, and
// that they can mend it.
func TestNodeWithoutSession(t *testing.T) {
	t.Parallel()
	r := fast(t)
	s := r.open()
	r.lead(s, "first").Release()
	acl := zk.WorldACL(zk.PermAll)
	for _, name := range []string{"made by hand", newOwner() + "-lock-0000000000"} {
		path := "/leaderrun/e/queue/" + name
		_, err := r.admin.Create(path, []byte("x"), 0, acl)
		r.must(err)
		a := r.start(s, "a")
		n := a.Hears(lock.Warning, prompt)
		if want := "deleteall " + path; !strings.Contains(n.Err.Error(), want) {
			t.Errorf("warning %q, want %q in it", n.Err, want)
		}
		try := lock.Candidate{ID: "try", TTL: testTTL, Try: true}
		if _, err := s.Locker("e").Acquire(t.Context(), try); !errors.Is(err, lock.ErrHeld) {
			t.Error(err)
		}
		r.must(r.admin.Delete(path, -1))
		a.Wins(2 * prompt)
		a.Release()
	}
}

// Another recipe's lock on the same path is waited for, with a line that says so:
// on the election's node, where it is by the usual recipes, and in the queue.
func TestOtherRecipe(t *testing.T) {
	t.Parallel()
	r := fast(t)
	s := r.open()
	r.lead(s, "first").Release()
	for _, dir := range []string{"/leaderrun/e", "/leaderrun/e/queue"} {
		for _, name := range []string{"_c_5dd5e6ad-6d0b-4d2c-8c49-cd47c5a0b71e-lock-", "d1e2f3__lock__", "latch"} {
			flags := int32(zk.FlagEphemeralSequential)
			path, err := r.admin.Create(dir+"/"+name, nil, flags, zk.WorldACL(zk.PermAll))
			r.must(err)
			a := r.start(s, "a")
			if n := a.Hears(lock.Warning, prompt); !strings.Contains(n.Err.Error(), path) || !strings.Contains(n.Err.Error(), "--name") {
				t.Errorf("warning %q, want %s in it", n.Err, path)
			}
			a.Waits(500 * time.Millisecond)
			r.must(r.admin.Delete(path, -1))
			a.Wins(2 * prompt)
			a.Release()
		}
	}
	// The common recipes see our node, if they use the same queue.
	a := r.lead(s, "a")
	other := zk.NewLock(r.admin, "/leaderrun/e/queue", zk.WorldACL(zk.PermAll))
	locked := make(chan error, 1)
	go func() { locked <- other.Lock() }()
	select {
	case err := <-locked:
		t.Errorf("another recipe leads beside us: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	a.Release()
	r.must(within(t, "the other recipe", prompt, locked))
	r.must(other.Unlock())
}

// A record that is none of ours stops everybody who would have to rely on it.
func TestForeignRecord(t *testing.T) {
	r := fast(t)
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	_, err := r.admin.Set("/leaderrun/e/record", []byte("{}"), -1)
	r.must(err)
	within(t, "b to give up", prompt, b.Done)
	c := r.start(s, "c")
	within(t, "c to give up", prompt, c.Done)
	for _, err := range []error{b.Err, c.Err, a.Lease.Release(t.Context())} {
		if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), "/leaderrun/e/record") {
			t.Errorf("%v, want ErrConfig and the node", err)
		}
	}
	eventually(t, "the queue to be left", prompt, func() bool { return len(r.queue("e")) == 0 })
}

// The time-out that the server grants is what counts.
func TestGrantedTTL(t *testing.T) {
	r := newRig(t, servers.ZooKeeperOptions{Fast: true, Conf: []string{"minSessionTimeout=6000", "maxSessionTimeout=6000"}})
	s := r.open()
	for _, asked := range []time.Duration{4 * time.Second, 9 * time.Second} {
		a := r.startWith(s, lock.Candidate{ID: "a", TTL: asked})
		l := a.Wins(patient)
		if left := l.ValidUntil().Until(); left < 4*time.Second || left > 6*time.Second {
			t.Errorf("%v left of a session of 6 s", left)
		}
		if ttl := r.record("e").TTL; ttl != 6*time.Second {
			t.Errorf("TTL in the record: %v", ttl)
		}
		if asked > 6*time.Second {
			if n := a.Hears(lock.Warning, prompt); !strings.Contains(n.Err.Error(), "maxSessionTimeout") {
				t.Error(n.Err)
			}
		}
		a.Release()
	}
}
