package contract

import (
	"fmt"
	"os"
	"testing"
	"time"

	"leaderrun/lock"
)

// Thousand runs a thousand quick elections, one after the other, over one
// connection, and asserts that no descriptor stays open. What else may be left
// (leases, sessions, nodes, files) only the caller can see; goroutines are
// goleak's.
func Thousand(t testing.TB, s lock.Store, ttl time.Duration) {
	t.Helper()
	locker := s.Locker("thousand")
	once := func(id string) {
		l, err := locker.Acquire(t.Context(), lock.Candidate{ID: id, TTL: ttl})
		if err == nil {
			err = l.Release(t.Context())
		}
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	once("the first connects")
	before, began := openFiles(t), time.Now()
	for i := range 1000 {
		once(fmt.Sprint(i))
	}
	t.Logf("%v for each election", time.Since(began)/1000)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patient); ; {
		now := openFiles(t)
		if now <= before+2 { // a connection or two of what is given back in passing
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%d open descriptors after a thousand elections, %d before", now, before)
		}
	}
}

// openFiles counts descriptors where the system tells.
func openFiles(t testing.TB) int {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}
