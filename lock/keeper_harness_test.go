package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"leaderrun/lock/bootclock"
)

const (
	ttl       = 15 * time.Second
	ttlMargin = 300 * time.Millisecond
)

// A fakeSession answers as the test says.
type fakeSession struct {
	clock *fakeClock
	renew func(ctx context.Context, n int) (time.Duration, error)
	gone  chan error

	mu   sync.Mutex
	sent []bootclock.Instant // when each Renew was called
}

func (s *fakeSession) Renew(ctx context.Context) (time.Duration, error) {
	s.mu.Lock()
	s.sent = append(s.sent, s.clock.Now())
	n := len(s.sent)
	s.mu.Unlock()
	return s.renew(ctx, n)
}

func (s *fakeSession) Gone() <-chan error { return s.gone }

func (s *fakeSession) calls() []bootclock.Instant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// kept is a lease under test.
type kept struct {
	*testing.T
	*Keeper
	clock   *fakeClock
	session *fakeSession
	grant   bootclock.Instant
	notices chan Notice
}

// keepFor runs a test of a lease with a TTL of 15 s in synctest's time.
func keepFor(t *testing.T, renew func(ctx context.Context, k *kept, n int) (time.Duration, error), test func(k *kept)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{T: t, clock: newFakeClock(), notices: make(chan Notice, 1000)}
		kept := make(chan struct{}) // closed when k has its Keeper, which renews already
		k.session = &fakeSession{clock: k.clock, gone: make(chan error, 1), renew: func(ctx context.Context, n int) (time.Duration, error) {
			<-kept
			return renew(ctx, k, n)
		}}
		k.grant = k.clock.Now()
		var err error
		k.Keeper, err = keep(k.clock, k.session, Grant{Sent: k.grant, Lifetime: ttl}, Candidate{Grace: 5 * time.Second, Notify: func(n Notice) { k.notices <- n }})
		if err != nil {
			t.Fatal(err)
		}
		close(kept)
		test(k)
		k.Stop()
	})
}

// pass lets time go by, and everyone act in it.
func (k *kept) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (k *kept) isLost() bool {
	select {
	case <-k.Lost():
		return true
	default:
		return false
	}
}

// lostAt asserts that the lease ends exactly then, for that reason.
func (k *kept) lostAt(at bootclock.Instant, reason error) {
	k.Helper()
	<-k.Lost()
	if now := k.clock.Now(); now != at {
		k.Errorf("lost %v late", now.Sub(at))
	}
	if !errors.Is(k.Err(), reason) {
		k.Errorf("lost: %v; want %v", k.Err(), reason)
	}
}

var errDown = fmt.Errorf("%w: down", ErrUnavailable)

func works(context.Context, *kept, int) (time.Duration, error) { return ttl, nil }

func fails(context.Context, *kept, int) (time.Duration, error) { return 0, errDown }
