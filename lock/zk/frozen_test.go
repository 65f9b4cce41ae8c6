//go:build linux

package zk

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

// A holder that was frozen for most of its time-out renews when it wakes, through a
// server that is cut off from its peers in that moment. Whatever that server
// answers, the lease is over before the session is.
func TestFrozenThenIsolated(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	const ttl = 6 * time.Second
	r := newRig(t, servers.ZooKeeperOptions{Nodes: 3, Hosts: true})
	for round := range 4 {
		for _, e := range r.zoo.Endpoints() {
			r.serves(e)
		}
		leader, err := r.zoo.Leader()
		r.must(err)
		at := (leader + round%2) % 3 // in turn the leader and a follower
		s := r.open(r.zoo.Endpoints()[(at+1)%3], r.zoo.Endpoints()[(at+2)%3])
		h := r.hold(exec.Command, r.zoo.Endpoints()[at], ttl)
		h.told("renewed", 2)
		b := r.startWith(s, lock.Candidate{ID: "b", TTL: 10 * time.Second})
		b.Hears(lock.StandingBy, patient)
		var path string
		for _, p := range r.queue("e") {
			if !strings.Contains(p, b.owner()) {
				path = p
			}
		}
		h.told("renewed", 1)
		h.signal(syscall.SIGSTOP)
		frozen := h.until.Until() - 500*time.Millisecond
		<-time.After(frozen)
		h.signal(syscall.SIGCONT)
		<-time.After(rand.N(400 * time.Millisecond))
		r.must(r.zoo.Isolate(at))
		cut := bootclock.Now()

		lost := make(chan bootclock.Instant, 1)
		go func() {
			for w := range h.words {
				if h.note(w) == "lost" {
					lost <- bootclock.Now()
					return
				}
			}
		}()
		eventually(t, "the end of the session", patient, func() bool { return !s.exists(t, path) })
		gone := bootclock.Now()
		select {
		case at := <-lost:
			t.Logf("frozen for %v; deadline %v after the cut, lost %v after that, gone %v later", frozen, h.until.Sub(cut), at.Sub(h.until), gone.Sub(at))
		case <-time.After(100 * time.Millisecond):
			t.Errorf("gone %v after the cut, and the holder has not lost it: deadline %v", gone.Sub(cut), h.until.Sub(cut))
		}
		b = b.takesOver(s)
		r.must(r.zoo.Rejoin(at))
		r.serves(r.zoo.Endpoints()[at])
		h.release()
		b.Release()
	}
}

func (h *holder) signal(s syscall.Signal) {
	h.Helper()
	h.must(h.cmd.Process.Signal(s))
}
