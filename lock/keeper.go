package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"leaderrun/lock/bootclock"
)

// A Session is a store's side of one lease: requests, no timing.
type Session interface {
	// Renew asks the store once. A nil error means that lease and lock were
	// both seen to be ours by a linearizable read or a write on the own key,
	// and that the lease lives for the returned lifetime from the moment the
	// request was *received*, so at least that long from before Renew was
	// called. It wraps ErrLost if the store said that either is gone. After
	// any other error the next call uses a fresh connection. Renew obeys ctx.
	Renew(ctx context.Context) (lifetime time.Duration, err error)
	// Gone receives the reason when a watch sees lease or lock go. It is only
	// the fast path, and may be nil.
	Gone() <-chan error
}

// A Grant is the store's answer to the request that created a lease.
type Grant struct {
	Sent     bootclock.Instant // read just before the request was written
	Lifetime time.Duration     // granted, which may differ from what was asked
	// Relayed: the lease runs out somewhere else than where its renewals are
	// answered, and hears of them from there with a delay (ZooKeeper: the leader
	// counts, a follower answers). What an answer then proves is told by proof.
	Relayed bool
}

// A Keeper renews a lease until it is stopped or lost. It is the only place
// that computes a deadline: sent + lifetime - margin, sent being read before
// the request was written, never when its answer came; of a relayed lease that
// of an earlier request (see proof). The deadline only moves forward. A loss is
// final: an answer that comes after the deadline changes nothing, whatever it
// says.
type Keeper struct {
	session Session
	timing  Timing
	proof   proof
	clock   bootclock.Clock
	timer   bootclock.Timer // fires at the deadline
	pause   bootclock.Timer // until the next renewal
	notify  func(Notice)
	cancel  context.CancelFunc
	running sync.WaitGroup

	renewed chan struct{}
	lost    chan struct{}

	mu    sync.Mutex
	until bootclock.Instant
	err   error
}

// Keep starts to renew a lease that was just granted. The error is of kind
// ErrConfig if the granted lifetime is too short (see NewTiming).
func Keep(s Session, g Grant, c Candidate) (*Keeper, error) {
	return keep(bootclock.System, s, g, c)
}

func keep(clock bootclock.Clock, s Session, g Grant, c Candidate) (*Keeper, error) {
	timing, err := g.Timing(c)
	if err != nil {
		return nil, err
	}
	timer, err := clock.NewTimer()
	if err != nil {
		return nil, fmt.Errorf("keep lease: %w", err)
	}
	pause, err := clock.NewTimer()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keep lease: %w", err), timer.Close())
	}
	k := &Keeper{
		session: s, timing: timing, proof: proof{relay: timing.Relay}, clock: clock, timer: timer, pause: pause, notify: c.Notify,
		renewed: make(chan struct{}, 1), lost: make(chan struct{}),
		until: g.Sent.Add(g.Lifetime - timing.Margin),
	}
	if k.notify == nil {
		k.notify = func(Notice) {}
	}
	timer.Reset(k.until)
	k.tellRenewed(clock.Now().Sub(g.Sent))
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.running.Go(func() { k.watch(ctx) })
	k.running.Go(func() { k.renew(ctx, g.Sent) })
	return k, nil
}

// ValidUntil implements Lease.
func (k *Keeper) ValidUntil() bootclock.Instant {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.until
}

// Grace implements Lease.
func (k *Keeper) Grace() time.Duration { return k.timing.Grace }

// Renewed implements Lease.
func (k *Keeper) Renewed() <-chan struct{} { return k.renewed }

// Lost implements Lease.
func (k *Keeper) Lost() <-chan struct{} { return k.lost }

// Err implements Lease.
func (k *Keeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// Stop ends the renewals and returns when none is under way, which a Session
// that obeys its context makes short. It does not close Lost. Before a
// release: a renewal that finds the lock given back would call it a loss.
func (k *Keeper) Stop() {
	k.cancel()
	k.running.Wait()
}

// Lose ends the lease for certain, with the reason; only the first counts.
func (k *Keeper) Lose(reason error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lose(reason)
}

func (k *Keeper) lose(reason error) {
	if reason == nil {
		reason = ErrLost // of a closed Gone; a lost lease has a reason
	}
	if k.err == nil {
		k.err = reason
		close(k.lost)
	}
}

// watch closes Lost at the deadline, also while a renewal hangs.
func (k *Keeper) watch(ctx context.Context) {
	defer func() { _ = k.timer.Close() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.lost:
			k.cancel()
			return
		case err := <-k.session.Gone():
			k.Lose(err)
		case <-k.timer.C():
			k.mu.Lock()
			if k.clock.Now() >= k.until {
				k.lose(ErrExpired)
			}
			k.mu.Unlock()
		}
	}
}

// renew asks again and again. The first renewal is due at any time within an
// interval of the grant: candidates that were started together are not to renew
// together.
func (k *Keeper) renew(ctx context.Context, sent bootclock.Instant) {
	defer func() { _ = k.pause.Close() }()
	failing := 0
	next := sent.Add(Spread(0, k.timing.Interval))
	for {
		k.pause.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-k.pause.C():
		}
		if k.clock.Now() < next {
			continue // a tick of an earlier Reset
		}
		sent = k.clock.Now()
		err := k.ask(ctx)
		now := k.clock.Now()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if failing > 0 {
				k.notify(Notice{Kind: Renewing})
			}
			failing = 0
			k.tellRenewed(now.Sub(sent))
			next = max(sent.Add(k.jitter()), now.Add(k.timing.Relay))
		case errors.Is(err, ErrLost):
			k.Lose(err)
			return
		default:
			left := k.ValidUntil().Sub(now)
			k.notify(Notice{Kind: RenewalFailing, Err: err, Left: max(0, left)})
			next = now.Add(k.timing.retry(failing, left))
			failing++
		}
	}
}

func (k *Keeper) tellRenewed(took time.Duration) {
	k.notify(Notice{Kind: Renewed, Took: took, Until: k.ValidUntil(), Every: k.timing.Interval + k.timing.Relay})
}

// ask makes one attempt to renew: of a relayed lease it takes two requests, the
// second of which proves what was before the first.
func (k *Keeper) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.timing.Request)
	defer cancel()
	requests := 1
	if k.timing.Relay > 0 {
		requests = 2
	}
	for range requests {
		r := renewal{sent: k.clock.Now()}
		var err error
		if r.lifetime, err = k.session.Renew(ctx); err != nil {
			return err
		}
		r.answered = k.clock.Now()
		k.extend(k.proof.by(r))
	}
	return nil
}

// extend moves the deadline, unless the answer came after it.
func (k *Keeper) extend(r renewal, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.clock.Now() >= k.until {
		k.lose(ErrExpired)
	}
	until := r.sent.Add(r.lifetime - k.timing.Margin)
	if !ok || k.err != nil || until <= k.until {
		return
	}
	k.until = until
	k.timer.Reset(until)
	select {
	case k.renewed <- struct{}{}:
	default:
	}
}

// jitter returns the interval or up to a tenth less: those who renew together drift apart.
func (k *Keeper) jitter() time.Duration {
	return Spread(k.timing.Interval*9/10, k.timing.Interval)
}
