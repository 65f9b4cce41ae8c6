package lock

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"leaderrun/lock/bootclock"
)

// The first deadline counts from before the grant was asked for.
func TestDeadlineOfGrant(t *testing.T) {
	keepFor(t, fails, func(k *kept) {
		if want := k.grant.Add(ttl - ttlMargin); k.ValidUntil() != want {
			t.Errorf("valid %v too long", k.ValidUntil().Sub(want))
		}
		k.lostAt(k.grant.Add(ttl-ttlMargin), ErrExpired)
	})
	synctest.Test(t, func(t *testing.T) { // and the answer may come too late
		clock := newFakeClock()
		s := &fakeSession{clock: clock, renew: func(context.Context, int) (time.Duration, error) { return ttl, nil }}
		k, err := keep(clock, s, Grant{Sent: clock.Now().Add(-ttl), Lifetime: ttl}, Candidate{})
		if err != nil {
			t.Fatal(err)
		}
		<-k.Lost()
		if !errors.Is(k.Err(), ErrExpired) || k.ValidUntil() >= clock.Now() {
			t.Errorf("valid for another %v, %v", k.ValidUntil().Sub(clock.Now()), k.Err())
		}
		k.Stop()
	})
}

// A slow answer does not extend the deadline: it counts from the sending.
func TestDeadlineFromSend(t *testing.T) {
	const slow = 2 * time.Second // under the bound of a request, 2.5 s
	keepFor(t, func(context.Context, *kept, int) (time.Duration, error) {
		<-time.After(slow)
		return ttl, nil
	}, func(k *kept) {
		for n := range 20 {
			before := k.ValidUntil()
			<-k.Renewed()
			sent := k.session.calls()
			if len(sent) != n+1 {
				t.Fatalf("renewed %d times after %d answers", len(sent), n+1)
			}
			if got, want := k.ValidUntil(), sent[n].Add(ttl-ttlMargin); got != want {
				t.Errorf("renewal %d: valid %v too long", n, got.Sub(want))
			}
			if k.ValidUntil() <= before {
				t.Errorf("renewal %d moved the deadline back", n)
			}
		}
		for i, sent := range k.session.calls() {
			before, least := k.grant, time.Duration(0)
			if i > 0 {
				// Each waits for the answer to the one before, and no longer than an interval.
				before, least = k.session.calls()[i-1], 2700*time.Millisecond
			}
			if d := sent.Sub(before); d > 3*time.Second || d < least {
				t.Errorf("renewal %d is sent %v after the one before, want %v to 3 s", i, d, least)
			}
		}
	})
}

// The deadline never moves back, whatever lifetime a renewal grants.
func TestNeverBack(t *testing.T) {
	keepFor(t, func(_ context.Context, _ *kept, n int) (time.Duration, error) {
		if n%2 == 0 {
			return time.Second, nil
		}
		return ttl, nil
	}, func(k *kept) {
		for before := k.ValidUntil(); len(k.session.calls()) < 10; before = k.ValidUntil() {
			k.pass(100 * time.Millisecond)
			if k.ValidUntil() < before {
				t.Fatalf("moved back by %v", before.Sub(k.ValidUntil()))
			}
		}
		if k.isLost() {
			t.Error(k.Err())
		}
	})
}

// An answer that comes after the deadline revives nothing, whatever it says.
func TestLateAnswer(t *testing.T) {
	keepFor(t, func(context.Context, *kept, int) (time.Duration, error) {
		<-time.After(ttl) // heedless of the context
		return time.Hour, nil
	}, func(k *kept) {
		deadline := k.ValidUntil()
		k.lostAt(deadline, ErrExpired)
		k.pass(ttl)
		if k.ValidUntil() != deadline || !errors.Is(k.Err(), ErrExpired) {
			t.Errorf("revived: valid %v longer, %v", k.ValidUntil().Sub(deadline), k.Err())
		}
	})
}

// The same if the answer is dealt with before the deadline's own timer: the
// clock decides.
func TestLateAnswerBeforeTimer(t *testing.T) {
	keepFor(t, func(_ context.Context, k *kept, _ int) (time.Duration, error) {
		k.clock.setDeaf(true)
		<-time.After(ttl)
		return time.Hour, nil
	}, func(k *kept) {
		deadline := k.ValidUntil()
		<-k.Lost()
		if k.ValidUntil() != deadline || !errors.Is(k.Err(), ErrExpired) {
			t.Errorf("revived: valid %v longer, %v", k.ValidUntil().Sub(deadline), k.Err())
		}
	})
}

// A renewal that hangs does not keep the deadline from being noticed.
func TestHungRenewal(t *testing.T) {
	keepFor(t, func(context.Context, *kept, int) (time.Duration, error) {
		<-time.After(time.Hour) // heedless of the context
		return 0, errDown
	}, func(k *kept) {
		k.lostAt(k.grant.Add(ttl-ttlMargin), ErrExpired)
		if n := len(k.session.calls()); n != 1 {
			t.Errorf("%d renewals at once", n)
		}
	})
}

// Whatever the network and the lid of the laptop do: the holder never thinks
// itself the holder when the store's lease has ended, and never stops while
// renewals come through.
func TestNeverLongerThanTheStore(t *testing.T) {
	for seed := range uint64(300) {
		network, lid := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1))
		var expires atomic.Int64 // on the server
		upTo := func(d time.Duration) { <-time.After(time.Duration(network.Int64N(int64(d)))) }
		hard := seed%2 == 1
		keepFor(t, func(_ context.Context, k *kept, _ int) (time.Duration, error) {
			if hard && network.IntN(4) == 0 {
				return 0, errDown
			}
			upTo(time.Second) // there
			if hard && network.IntN(3) == 0 {
				upTo(20 * time.Second)
			}
			now := k.clock.Now()
			if now >= bootclock.Instant(expires.Load()) {
				return 0, ErrLost
			}
			expires.Store(int64(now.Add(ttl)))
			upTo(time.Second) // and back
			if hard && network.IntN(3) == 0 {
				upTo(20 * time.Second)
			}
			return ttl, nil
		}, func(k *kept) {
			expires.Store(int64(k.grant.Add(ttl)))
			for range 2000 {
				k.pass(50 * time.Millisecond)
				if hard && lid.IntN(500) == 0 {
					k.clock.suspend(time.Duration(lid.Int64N(int64(20 * time.Second))))
					synctest.Wait()
				}
				until, limit := k.ValidUntil(), bootclock.Instant(expires.Load()).Add(-ttlMargin)
				if until > limit {
					t.Fatalf("seed %d: valid for %v longer than the store's lease", seed, until.Sub(limit))
				}
				if !k.isLost() && k.clock.Now() > k.ValidUntil() {
					t.Fatalf("seed %d: not lost at the deadline", seed)
				}
				if k.isLost() {
					break
				}
			}
			if !hard && k.isLost() {
				t.Errorf("seed %d: lost a lease whose renewals came through: %v", seed, k.Err())
			}
		})
	}
}
