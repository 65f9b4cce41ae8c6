package consul

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/lock/contract"
	"leaderrun/scripts/servers"
)

// A release is known to those who wait within milliseconds, however many there are.
func TestHandOver(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	holder := r.lead(s, "holder")
	done := make(chan *run, 10)
	for i := range cap(done) {
		a := r.standBy(s, fmt.Sprint("b", i))
		go func() {
			<-a.Done
			done <- a
		}()
	}
	token := holder.Lease.Token()
	for range cap(done) {
		began := bootclock.Now()
		holder.Release()
		holder = within(t, "the next", prompt, done)
		t.Logf("hand-over to %s in %v", holder.ID, bootclock.Now().Sub(began))
		if next := holder.Wins(patient).Token(); next <= token {
			t.Errorf("token %d after %d", next, token)
		} else {
			token = next
		}
	}
}

// A waiter whose session ends campaigns anew, and harms nobody.
func TestWaiterLosesItsSession(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	c := r.standBy(s, "c")
	r.destroy(b.session())
	within(t, "b to give up", testTTL, b.Done)
	t.Log(b.Err)
	if !errors.Is(b.Err, lock.ErrUnavailable) || errors.Is(b.Err, lock.ErrLeftBehind) {
		t.Errorf("b: %v", b.Err)
	}
	c.Waits(500 * time.Millisecond)
	r.must(a.Lease.Err())
	a.Release()
	c.Wins(prompt)
}

// Elections in quick succession leave nothing behind.
func TestNothingIsLeft(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	goroutines := runtime.NumGoroutine()
	contract.Thousand(t, s, testTTL)
	eventually(t, "the end of what the elections started", patient, func() bool {
		return runtime.NumGoroutine() <= goroutines+10 // a few connections of HTTP
	})
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
	if list := r.sessions(); len(list) != 0 {
		t.Errorf("%d sessions, such as %+v", len(list), list[0])
	}
	keys, _, err := r.admin.KV().Keys("", "", nil)
	r.must(err)
	if got := strings.Join(keys, " "); got != "leaderrun/e/.lock leaderrun/e/record leaderrun/thousand/.lock leaderrun/thousand/record" {
		t.Errorf("keys: %s", got)
	}
}

// `consul lock` on the same path, and leaderrun: never both.
func TestConsulLock(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	consulLock := func() (*exec.Cmd, *strings.Builder) {
		bin, err := servers.Bin("consul")
		r.must(err)
		cmd := exec.Command(bin, "lock", "-pass-stdin", "leaderrun/e", "cat") // until its input ends
		out := &strings.Builder{}
		cmd.Env, cmd.Stdout, cmd.Stderr = append(r.consul.CtlEnv(), "SHELL=/bin/sh"), out, out
		return cmd, out
	}
	other, out := consulLock()
	input, err := other.StdinPipe()
	r.must(err)
	r.must(other.Start())
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	eventually(t, "consul lock to hold it", patient, func() bool {
		p := r.get("e", ".lock")
		return p != nil && p.Session != ""
	})
	a := r.start(s, "a")
	n := a.Hears(lock.Warning, prompt)
	t.Log(n.Err)
	if !strings.Contains(n.Err.Error(), "leaderrun/e/.lock") {
		t.Errorf("warning %q", n.Err)
	}
	try := lock.Candidate{ID: "try", TTL: testTTL, Try: true}
	if _, err := s.Locker("e").Acquire(t.Context(), try); !errors.Is(err, lock.ErrHeld) {
		t.Error(err)
	}
	a.Waits(time.Second)
	r.must(input.Close())
	a.Wins(patient)
	if err := other.Wait(); err != nil {
		t.Logf("%v: %s", err, out) // it does not find its key any more
	}

	late, out := consulLock()
	if err := late.Run(); err == nil {
		t.Errorf("consul lock ran beside us: %s", out)
	}
	t.Logf("consul lock: %s", strings.TrimSpace(out.String()))
	a.Survives(1, testTTL)
	a.Release()
	late, out = consulLock()
	if err := late.Run(); err == nil {
		t.Errorf("consul lock took our key: %s", out)
	}
	r.lead(s, "b").Release()
}

// A key that something else made for something else is left alone.
func TestForeignKey(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	refuses := func(words ...string) {
		t.Helper()
		for _, try := range []bool{false, true} {
			a := r.startWith(s, lock.Candidate{ID: "a", TTL: testTTL, Try: try})
			within(t, "a to give up", prompt, a.Done)
			t.Log(a.Err)
			if !errors.Is(a.Err, lock.ErrConfig) {
				t.Errorf("%v, want ErrConfig", a.Err)
				return
			}
			for _, w := range words {
				if !strings.Contains(a.Err.Error(), w) {
					t.Errorf("%q lacks %q", a.Err, w)
				}
			}
		}
	}
	r.put("e", ".lock", "hello")
	refuses("consul kv delete leaderrun/e/.lock")
	if p := r.get("e", ".lock"); string(p.Value) != "hello" {
		t.Errorf("value: %q", p.Value)
	}

	// Held by a recipe of somebody's own.
	id, _, err := r.admin.Session().CreateNoChecks(&api.SessionEntry{LockDelay: time.Millisecond}, nil)
	r.must(err)
	ok, _, err := r.admin.KV().Acquire(&api.KVPair{Key: "leaderrun/e/.lock", Value: []byte("mine"), Session: id}, nil)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	a := r.start(s, "a")
	t.Log(a.Hears(lock.Warning, prompt).Err)
	a.Waits(300 * time.Millisecond)
	r.del("e", ".lock")
	a.Wins(prompt)
	a.Release()
	r.destroy(id)

	r.put("e", "record", "{}")
	refuses("consul kv get leaderrun/e/record")
	if n := len(r.sessions()); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

// A record that is none of ours stops everybody who would have to rely on it, and
// does not keep the lock.
func TestForeignRecord(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	a := r.lead(s, "a")
	b := r.standBy(s, "b")
	r.put("e", "record", "{}")
	err := a.Lease.Release(t.Context())
	within(t, "b to give up", prompt, b.Done)
	for _, err := range []error{err, b.Err} {
		t.Log(err)
		if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), "leaderrun/e/record") {
			t.Errorf("%v, want ErrConfig and the key", err)
		}
	}
	if p := r.get("e", ".lock"); p.Session != "" {
		t.Errorf("still locked by %s", p.Session)
	}
}

// A request whose answer was lost is made again, and finds its own work.
func TestLostAnswers(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	l := s.Locker("e").(*locker)
	c := lock.Candidate{ID: "a", TTL: testTTL, Notify: func(lock.Notice) {}}
	x, g, err := s.create(t.Context(), l.keys, c, "e")
	r.must(err)
	k, err := lock.Keep(x, g, c)
	r.must(err)
	a := newCampaign(l, c, x, k, g.Lifetime)
	r.must(a.look(t.Context()))
	before := a.key
	r.must(a.acquire(t.Context()))
	token := a.key.index
	a.key = before
	r.must(a.acquire(t.Context())) // the same request, late
	if !a.refused || r.get("e", ".lock").ModifyIndex != token {
		t.Fatal("a late request changed the lock")
	}
	r.must(a.look(t.Context()))
	if a.key.session != x.id || a.held.Token != lock.Token(token) {
		t.Fatalf("found %+v, token %d", a.key, a.held.Token)
	}
	without := a.rec
	rec, err := a.win(t.Context())
	if rec.index == 0 || err != nil {
		t.Fatalf("won: %+v, %v", rec, err)
	}
	a.rec = without
	if again, err := a.win(t.Context()); again.index != 0 || err != nil {
		t.Fatalf("won twice: %+v, %v", again, err)
	}
	if again, err := a.win(t.Context()); again.index != rec.index || err != nil {
		t.Fatalf("found victory %+v, %v; want %+v", again, err, rec)
	}
	e, err := a.won(rec)
	r.must(err)
	r.must(s.giveBack(t.Context(), l.keys, x.id, e.rec))
	r.must(e.Release(t.Context()))
	if rec := r.record("e"); rec.State != lock.Clean {
		t.Errorf("record: %+v", rec)
	}
}

// A TTL that Consul does not take is refused before anything begins.
func TestTTL(t *testing.T) {
	r := &rig{T: t, consul: servers.StartConsul(t, servers.ConsulOptions{})}
	r.admin = r.adminAt(r.consul.Endpoints()[0])
	s := r.open()
	for ttl, word := range map[time.Duration]string{9 * time.Second: "10s", 25 * time.Hour: "24h"} {
		a := r.startWith(s, lock.Candidate{ID: "a", TTL: ttl})
		within(t, "a to give up", prompt, a.Done)
		t.Log(a.Err)
		if !errors.Is(a.Err, lock.ErrConfig) || !strings.Contains(a.Err.Error(), "--ttl") || !strings.Contains(a.Err.Error(), word) {
			t.Errorf("%v, want ErrConfig and %q", a.Err, word)
		}
		if a.Ticket().Data != nil {
			t.Error("entered the campaign")
		}
	}
	a := r.startWith(s, lock.Candidate{ID: "a", TTL: 10 * time.Second})
	if left := a.Wins(prompt).ValidUntil().Until(); left > 10*time.Second || left < 9*time.Second {
		t.Errorf("%v left of a lease of 10 s", left)
	}
	if list := r.sessions(); len(list) != 1 || len(list[0].NodeChecks)+len(list[0].ServiceChecks) != 0 || list[0].LockDelay != lockDelay {
		t.Errorf("sessions: %+v", list)
	}
}
