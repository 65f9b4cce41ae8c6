package lock

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"leaderrun/lock/bootclock"
)

// crowdFor keeps as many leases that were granted in one moment, in synctest's time.
func crowdFor(t *testing.T, n int, renew func(context.Context) (time.Duration, error), test func(clock *fakeClock, sessions []*fakeSession, keepers []*Keeper)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		clock := newFakeClock()
		var sessions []*fakeSession
		var keepers []*Keeper
		for range n {
			s := &fakeSession{clock: clock, renew: func(ctx context.Context, _ int) (time.Duration, error) { return renew(ctx) }}
			k, err := keep(clock, s, Grant{Sent: clock.Now(), Lifetime: ttl}, Candidate{Grace: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			sessions, keepers = append(sessions, s), append(keepers, k)
		}
		test(clock, sessions, keepers)
		for _, k := range keepers {
			k.Stop()
		}
	})
}

// busiest is the greatest number of renewals within one step of that time.
func busiest(sessions []*fakeSession, from, to bootclock.Instant, step time.Duration) int {
	steps := make([]int, int(to.Sub(from)/step)+1)
	for _, s := range sessions {
		for _, at := range s.calls() {
			if at >= from && at < to {
				steps[int(at.Sub(from)/step)]++
			}
		}
	}
	return slices.Max(steps)
}

// Candidates that were started in one moment do not renew in one, from the first
// renewal on.
func TestRenewalsSpread(t *testing.T) {
	const n = 300
	crowdFor(t, n, func(context.Context) (time.Duration, error) { return ttl, nil },
		func(clock *fakeClock, sessions []*fakeSession, _ []*Keeper) {
			began := clock.Now()
			<-time.After(time.Minute)
			// An interval has thirty tenths of a second.
			if most := busiest(sessions, began, clock.Now(), 100*time.Millisecond); most > n/30*4 {
				t.Errorf("%d of %d renewals in the same tenth of a second", most, n)
			}
		})
}

// Nor do they when a store comes back, whose absence costs nobody the lease.
func TestRenewalsSpreadAfterOutage(t *testing.T) {
	const n = 300
	for _, away := range []time.Duration{time.Second, 3 * time.Second, 5 * time.Second} {
		var down atomic.Bool
		crowdFor(t, n, func(context.Context) (time.Duration, error) {
			if down.Load() {
				return 0, errDown
			}
			return ttl, nil
		}, func(clock *fakeClock, sessions []*fakeSession, keepers []*Keeper) {
			<-time.After(20 * time.Second)
			down.Store(true)
			<-time.After(away)
			down.Store(false)
			back := clock.Now()
			<-time.After(5 * time.Second)
			most := busiest(sessions, back, clock.Now(), 100*time.Millisecond)
			t.Logf("away for %v: at most %d of %d renewals in the same tenth of a second", away, most, n)
			if most > n/4 {
				t.Errorf("away for %v: %d of %d renewals in the same tenth of a second", away, most, n)
			}
			for i, k := range keepers {
				if k.Err() != nil || !slices.ContainsFunc(sessions[i].calls(), func(at bootclock.Instant) bool { return at >= back }) {
					t.Errorf("away for %v: not renewed in 5 s, %v", away, k.Err())
				}
			}
		})
	}
}

// A store that is back just before the command would be told to stop is asked in
// time, however long it was away.
func TestRenewedInTheLastMoment(t *testing.T) {
	for range 200 {
		const moment = 300 * time.Millisecond
		keepFor(t, func(_ context.Context, k *kept, n int) (time.Duration, error) {
			if left := k.ValidUntil().Sub(k.clock.Now()); n > 3 && left > k.Grace()+moment {
				return 0, errDown
			}
			return ttl, nil
		}, func(k *kept) {
			for range 6 {
				before := k.ValidUntil()
				select {
				case <-k.Renewed():
				case <-k.Lost():
					t.Fatal("lost")
				}
				if late := k.clock.Now().Sub(before.Add(-k.Grace())); late > 0 {
					t.Errorf("renewed %v after the command was told to stop", late)
				}
			}
		})
	}
}
