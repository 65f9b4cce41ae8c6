package lock

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"leaderrun/lock/bootclock"
)

// What STORES.md measured, in numbers: single requests spaced by the relay prove
// the last but one, pairs the last of the pair before; closer ones, and a pause
// that was only planned, prove less.
func TestProof(t *testing.T) {
	const relay = 1100
	type request struct{ sent, answered bootclock.Instant }
	for name, c := range map[string]struct {
		requests []request
		proven   bootclock.Instant // when what the last one proves was sent; 0 for nothing
	}{
		"first":             {[]request{{1, 2}}, 0},
		"second":            {[]request{{1, 2}, {1102, 1103}}, 0},
		"third":             {[]request{{1, 2}, {1102, 1103}, {1103, 1104}}, 1},
		"spaced":            {[]request{{1, 2}, {1102, 1103}, {2203, 2204}}, 1},
		"a moment too soon": {[]request{{1, 2}, {1101, 1103}, {1103, 1104}}, 0},
		"slow answer":       {[]request{{1, 500}, {1102, 1103}, {1103, 1104}}, 0},
		"pairs":             {[]request{{1, 2}, {2, 3}, {1103, 1104}, {1104, 1105}, {2205, 2206}, {2206, 2207}}, 1104},
		"first of a pair":   {[]request{{1, 2}, {2, 3}, {1103, 1104}, {1104, 1105}, {2205, 2206}}, 2},
		"after a freeze":    {[]request{{1, 2}, {2, 3}, {1103, 1104}, {3500, 3501}}, 2},
		"tried again":       {[]request{{1, 2}, {2, 3}, {1103, 1104}, {1300, 1301}, {1301, 1302}}, 2},
	} {
		p := proof{relay: relay}
		var got renewal
		var ok bool
		for _, r := range c.requests {
			got, ok = p.by(renewal{sent: r.sent, answered: r.answered})
		}
		if ok != (c.proven != 0) || got.sent != c.proven {
			t.Errorf("%s: proves %d, %v; want %d", name, got.sent, ok, c.proven)
		}
	}
}

// The lifetime is the shortest that was granted since.
func TestProofLifetime(t *testing.T) {
	p := proof{relay: 10}
	p.by(renewal{sent: 1, answered: 2, lifetime: 4})
	p.by(renewal{sent: 20, answered: 21, lifetime: 3})
	if r, ok := p.by(renewal{sent: 21, answered: 22, lifetime: 5}); !ok || r.sent != 1 || r.lifetime != 3 {
		t.Errorf("proves %+v, %v", r, ok)
	}
}

// An ensemble is a ZooKeeper in which the client's follower tells the leader of
// its sessions every half tick, until it is cut off from it.
type ensemble struct {
	clock *fakeClock
	delay func() time.Duration // of one message
	tick  time.Duration

	mu      sync.Mutex
	order   bootclock.Instant // when the latest message to the leader arrives: they keep their order
	touched bool              // since the last ping
	cut     bool
	expires bootclock.Instant // on the leader
}

// toLeader returns when a message that leaves now arrives; false if it is lost.
func (e *ensemble) toLeader() (time.Duration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	e.order = max(e.order, now.Add(e.delay()))
	return e.order.Sub(now), !e.cut
}

// ping is the leader's, which the follower answers with what it was told.
func (e *ensemble) ping(ctx context.Context) {
	for ctx.Err() == nil {
		<-time.After(e.tick / 2)
		e.mu.Lock()
		touched := e.touched
		e.touched = false
		e.mu.Unlock()
		if d, ok := e.toLeader(); ok && touched {
			time.AfterFunc(d, func() {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.expires = max(e.expires, e.clock.Now().Add(2*e.tick))
			})
		}
	}
}

func (e *ensemble) write(ctx context.Context) (time.Duration, error) {
	<-time.After(e.delay())
	e.mu.Lock()
	e.touched = true
	e.mu.Unlock()
	d, ok := e.toLeader()
	if !ok {
		<-ctx.Done()
		return 0, errDown
	}
	<-time.After(d + e.delay())
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.clock.Now() >= e.expires {
		return 0, ErrLost
	}
	return 2 * e.tick, ctx.Err()
}

// A follower that is cut off from its leader may have told it nothing for half a
// tick, whatever it answered: the holder's deadline comes first all the same,
// also after a freeze; and no lease is lost while all is well.
func TestRelayedNeverLongerThanTheStore(t *testing.T) {
	const tick = 2 * time.Second
	advanced := 0
	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 0))
		hard := seed%2 == 1
		var mu sync.Mutex
		upTo := func(d time.Duration) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return time.Duration(random.Int64N(int64(d)))
		}
		synctest.Test(t, func(t *testing.T) {
			clock := newFakeClock()
			e := &ensemble{clock: clock, tick: tick, delay: func() time.Duration { return upTo(100 * time.Millisecond) }}
			ctx, cancel := context.WithCancel(t.Context())
			grant := Grant{Sent: clock.Now(), Lifetime: 2 * tick, Relayed: true}
			e.expires = grant.Sent.Add(grant.Lifetime)
			var pinging sync.WaitGroup
			pinging.Go(func() { e.ping(ctx) })
			s := &fakeSession{clock: clock, renew: func(ctx context.Context, _ int) (time.Duration, error) {
				if hard && upTo(20) == 0 {
					<-time.After(upTo(tick)) // frozen between the look at the clock and the sending
				}
				lifetime, err := e.write(ctx)
				if hard && upTo(20) == 0 {
					<-time.After(upTo(tick)) // and with the answer in hand
				}
				return lifetime, err
			}}
			k, err := keep(clock, s, grant, Candidate{Grace: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			cutAt := clock.Now().Add(5*time.Second + upTo(20*time.Second))
			freezeAt := cutAt.Add(-upTo(3 * time.Second))
			for range 600 {
				<-time.After(50 * time.Millisecond)
				if hard && clock.Now() > freezeAt {
					clock.freeze(2*tick*30/100 + upTo(2*tick*65/100))
					freezeAt = cutAt.Add(time.Hour)
				}
				synctest.Wait()
				e.mu.Lock()
				e.cut = clock.Now() > cutAt
				until, limit := k.ValidUntil(), e.expires.Add(-minMargin)
				e.mu.Unlock()
				if until > limit {
					t.Fatalf("seed %d: valid for %v longer than the store's lease", seed, until.Sub(limit))
				}
				if k.Err() != nil {
					break
				}
			}
			if k.ValidUntil() > grant.Sent.Add(grant.Lifetime) {
				advanced++
			}
			if !hard && k.Err() != nil && clock.Now() < cutAt {
				t.Errorf("seed %d: lost a lease whose renewals came through: %v", seed, k.Err())
			}
			k.Stop()
			cancel()
			pinging.Wait()
		})
	}
	if advanced < 800 {
		t.Errorf("only %d of 1000 leases were ever renewed", advanced)
	}
}
