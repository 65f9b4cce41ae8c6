package lock

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"leaderrun/lock/bootclock"
)

// Renewals that fail are tried again, each with its own bound, and the first
// that succeeds saves the lease.
func TestFailingThenSucceeding(t *testing.T) {
	keepFor(t, func(ctx context.Context, _ *kept, n int) (time.Duration, error) {
		switch n {
		case 1: // no answer
			<-ctx.Done()
			return 0, ctx.Err()
		case 2, 3:
			return 0, errDown
		}
		return ttl, nil
	}, func(k *kept) {
		first := k.ValidUntil()
		left := ttl
		if n := <-k.notices; n.Kind != Renewed || n.Until != first || n.Every <= 0 {
			t.Errorf("notice: %+v, want that of the grant", n)
		}
		for range 3 {
			n := <-k.notices
			if n.Kind != RenewalFailing || n.Err == nil || n.Left >= left || n.Left != first.Sub(k.clock.Now()) {
				t.Errorf("notice: %+v", n)
			}
			left = n.Left
		}
		if n := <-k.notices; n.Kind != Renewing {
			t.Errorf("notice: %+v, want Renewing", n)
		}
		sent := k.session.calls()
		if hung := sent[1].Sub(sent[0]); hung < 2625*time.Millisecond || hung > 2750*time.Millisecond {
			t.Errorf("tried again %v after the sending of what got no answer, want 2.625 s to 2.75 s", hung)
		}
		if again := sent[2].Sub(sent[1]); again < 250*time.Millisecond || again > 500*time.Millisecond {
			t.Errorf("tried again %v after a second failure, want 250 ms to 500 ms", again)
		}
		if want := sent[3].Add(ttl - ttlMargin); k.ValidUntil() != want || k.isLost() {
			t.Errorf("valid until %v, want %v; %v", k.ValidUntil(), want, k.Err())
		}
		end := first.Add(time.Minute)
		for until := first; until < end; {
			n := <-k.notices
			if n.Kind != Renewed || n.Until <= until {
				t.Errorf("notice: %+v, want Renewed until later than %v", n, until)
			}
			until = n.Until
		}
	})
}

// A loss that the store states ends the lease at once, and the renewals.
func TestToldLost(t *testing.T) {
	keepFor(t, func(context.Context, *kept, int) (time.Duration, error) {
		return 0, fmt.Errorf("%w: key deleted", ErrLost)
	}, func(k *kept) {
		<-k.Lost()
		sent := k.session.calls()
		k.lostAt(sent[0], ErrLost)
		k.pass(time.Minute)
		if n := len(k.session.calls()); n != 1 {
			t.Errorf("%d renewals of a lost lease", n)
		}
	})
}

func TestGone(t *testing.T) {
	keepFor(t, works, func(k *kept) {
		k.pass(time.Minute)
		why := fmt.Errorf("%w: seen by a watch", ErrLost)
		k.session.gone <- why
		k.lostAt(k.clock.Now(), why)
		k.Lose(errors.New("another reason"))
		if !errors.Is(k.Err(), why) {
			t.Errorf("error: %v; the first counts", k.Err())
		}
		before := len(k.session.calls())
		k.pass(time.Minute)
		if n := len(k.session.calls()) - before; n != 0 {
			t.Errorf("%d renewals of a lost lease", n)
		}
	})
	keepFor(t, works, func(k *kept) {
		close(k.session.gone) // without a reason
		k.lostAt(k.clock.Now(), ErrLost)
	})
}

// A machine that wakes up after the deadline has lost its lease at once,
// although no time went by for Go's timers, and whatever was under way.
func TestSuspendPastDeadline(t *testing.T) {
	for _, underWay := range []bool{false, true} {
		keepFor(t, func(_ context.Context, _ *kept, n int) (time.Duration, error) {
			if n == 3 && underWay {
				<-time.After(time.Second)
			}
			return ttl, nil
		}, func(k *kept) {
			<-k.Renewed()
			<-k.Renewed()
			deadline := k.ValidUntil()
			k.pass(time.Second)
			if underWay {
				k.pass(2100 * time.Millisecond) // to the third renewal, which takes a second
			}
			k.clock.suspend(time.Hour)
			woke := time.Now()
			<-k.Lost()
			if late := time.Since(woke); late != 0 {
				t.Errorf("noticed %v after waking", late)
			}
			k.pass(2 * time.Second)
			if k.ValidUntil() != deadline || !errors.Is(k.Err(), ErrExpired) {
				t.Errorf("revived: valid %v longer, %v", k.ValidUntil().Sub(deadline), k.Err())
			}
		})
	}
}

// A short sleep costs nothing but a renewal that is due at waking.
func TestSuspendBriefly(t *testing.T) {
	keepFor(t, works, func(k *kept) {
		<-k.Renewed()
		k.clock.suspend(10 * time.Second)
		synctest.Wait()
		if n := len(k.session.calls()); n != 2 || k.isLost() {
			t.Fatalf("%d renewals, %v", n, k.Err())
		}
		if want := k.clock.Now().Add(ttl - ttlMargin); k.ValidUntil() != want {
			t.Errorf("valid until %v, want %v", k.ValidUntil(), want)
		}
		k.pass(time.Minute)
		if k.isLost() {
			t.Error(k.Err())
		}
	})
}

// A tick of a timer that was meanwhile set anew means nothing.
func TestOldTick(t *testing.T) {
	keepFor(t, works, func(k *kept) {
		<-k.Renewed()
		for _, timer := range []bootclock.Timer{k.timer, k.pause} {
			timer.(*fakeTimer).c <- struct{}{}
			synctest.Wait()
		}
		if n := len(k.session.calls()); n != 1 || k.isLost() {
			t.Errorf("%d renewals, %v", n, k.Err())
		}
		k.pass(time.Minute)
		if k.isLost() {
			t.Error(k.Err())
		}
	})
}

// Stop ends the renewals, calls nothing a loss, and is heeded by what is under
// way; synctest sees to it that no goroutine is left.
func TestStop(t *testing.T) {
	keepFor(t, func(ctx context.Context, _ *kept, n int) (time.Duration, error) {
		if n == 2 {
			<-ctx.Done()
			return 0, fmt.Errorf("%w: found it given back", ErrLost)
		}
		return ttl, nil
	}, func(k *kept) {
		<-k.Renewed()
		k.pass(3 * time.Second)
		began := time.Now()
		k.Stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		k.pass(time.Hour)
		if n := len(k.session.calls()); n != 2 || k.isLost() || k.Err() != nil {
			t.Errorf("%d renewals, %v", n, k.Err())
		}
		k.Lose(ErrReleased)
		k.lostAt(k.clock.Now(), ErrReleased)
		k.Stop()
	})
}

// A lease that was granted shorter than asked is refused if it is too short.
func TestGrantTooShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newFakeClock()
		s := &fakeSession{clock: clock}
		granted := Grant{Sent: clock.Now(), Lifetime: 2 * time.Second}
		if _, err := keep(clock, s, granted, Candidate{TTL: ttl, Grace: 5 * time.Second}); !errors.Is(err, ErrConfig) {
			t.Errorf("keep: %v, want ErrConfig", err)
		}
		// A grace that nobody asked for gives way.
		k, err := keep(clock, s, granted, Candidate{TTL: ttl, Grace: 5 * time.Second, GraceYields: true})
		if err != nil {
			t.Fatal(err)
		}
		if want := k.timing.MostGrace; k.Grace() != want || want <= 0 {
			t.Errorf("grace %v, want %v", k.Grace(), want)
		}
		k.Stop()
	})
}
