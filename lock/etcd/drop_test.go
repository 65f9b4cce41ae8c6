package etcd

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

const dropEnv = "LEADERRUN_TEST_DROP" // the endpoint, in the process behind the cable

// Lost packets are worse than a silent server: TCP waits longer and longer
// before it sends again, on old connections and new ones.
func TestDroppedPackets(t *testing.T) {
	if endpoint := os.Getenv(dropEnv); endpoint != "" {
		holdLease(t, endpoint)
		return
	}
	n := servers.NewNetns(t)
	r := newRig(t, servers.EtcdOptions{Host: n.Addr(), Fast: true})
	cmd := n.Command(os.Args[0], "-test.run=^TestDroppedPackets$", "-test.v")
	cmd.Env = append(os.Environ(), dropEnv+"="+r.etcd.Endpoints()[0])
	out, err := cmd.StdoutPipe()
	r.must(err)
	r.must(cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	words := make(chan string)
	go func() {
		defer close(words)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if w, ok := strings.CutPrefix(sc.Text(), "holder: "); ok {
				words <- w
			}
		}
	}()
	// told reads up to a word, at least n times.
	told := func(word string, n int) {
		t.Helper()
		for n > 0 {
			got := within(t, word, patient, words)
			if strings.HasPrefix(got, word) {
				n--
			} else if got == "" || strings.HasPrefix(got, "lost") {
				t.Fatalf("holder: %q, want %s", got, word)
			}
		}
	}
	told("renewed", 1)
	for _, offset := range []time.Duration{0, 200 * time.Millisecond, 450 * time.Millisecond} {
		<-time.After(offset)
		r.must(n.Drop())
		<-time.After(testTTL / 3)
		r.must(n.Heal())
		began := bootclock.Now()
		told("renewed", 1)
		t.Logf("renewed %v after the outage", bootclock.Now().Sub(began))
		told("renewed", 2)
	}
	b := r.standBy(r.open(), "b")
	r.must(n.Drop())
	told("lost", 1)
	b.Waits(0)
	b.Wins(testTTL)
	r.must(n.Heal())
	told("released", 1)
	if h, err := r.open().Locker("e").Holder(t.Context()); err != nil || h.ID != "b" {
		t.Errorf("holder: %+v, %v", h, err)
	}
}

// holdLease is the process behind the cable: it holds the lease until it is
// lost and then gives it back.
func holdLease(t *testing.T, endpoint string) {
	t.Helper()
	say := func(word string) { _, _ = fmt.Fprintln(os.Stdout, "holder: "+word) }
	timing, err := lock.NewTiming(testTTL, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(lock.Settings{
		URL:            lock.URL{Scheme: "etcd", Hosts: []string{endpoint}, Path: defaultPrefix},
		DefaultTimeout: timing,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // never fails
	l, err := s.Locker("e").Acquire(t.Context(), lock.Candidate{ID: "a", TTL: testTTL})
	if err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case <-l.Renewed():
			say("renewed")
			continue
		case <-l.Lost():
		}
		break
	}
	if late := -l.ValidUntil().Until(); late < 0 || late > 100*time.Millisecond || !errors.Is(l.Err(), lock.ErrExpired) {
		t.Errorf("lost %v after the deadline: %v", late, l.Err())
	}
	say("lost")
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	say("released")
}
