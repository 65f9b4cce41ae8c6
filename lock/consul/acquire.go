package consul

import (
	"context"
	"errors"
	"fmt"

	"leaderrun/lock"
)

// A locker is one election. It implements lock.Locker.
type locker struct {
	store    *Store
	election string
	keys     keys
}

var _ lock.Locker = (*locker)(nil)

// Acquire implements lock.Locker. A candidate that loses its session while it
// waits gets an error of kind ErrUnavailable and campaigns anew: with a new session,
// a new ticket and a new guard.
func (l *locker) Acquire(ctx context.Context, c lock.Candidate) (lock.Lease, error) {
	if c.Notify == nil {
		c.Notify = func(lock.Notice) {}
	}
	if c.Try {
		// Only spares a session and a guard; the lock decides.
		if err := l.busy(ctx, c); err != nil {
			return nil, err
		}
	}
	if c.Expect != nil {
		c.Expect()
	}
	x, g, err := l.store.create(ctx, l.keys, c, l.election)
	if err != nil {
		return nil, err
	}
	k, err := lock.Keep(x, g, c)
	if err != nil {
		_ = l.leave(x, false) // nobody waits for a session that holds nothing
		return nil, err
	}
	a := newCampaign(l, c, x, k, g.Lifetime)
	e, err := a.run(ctx)
	if err != nil {
		k.Stop()
		if left := l.leave(x, a.tried); left != nil && a.enqueued {
			// Of what kind that is must not be taken for the campaign's own.
			err = fmt.Errorf("%w (%w: %s)", err, lock.ErrLeftBehind, left.Error())
		}
		return nil, err
	}
	return e, nil
}

// busy returns ErrHeld if anybody holds the lock.
func (l *locker) busy(ctx context.Context, c lock.Candidate) error {
	key, stored, err := l.store.readPlaces(ctx, l.keys)
	if err != nil {
		return err
	}
	rec, err := decodeRecord(l.keys.record(), stored)
	if err != nil {
		return err
	}
	foreign := key.foreign(l.keys.lock(), rec)
	switch {
	case errors.Is(foreign, lock.ErrConfig):
		return foreign
	case foreign != nil:
		c.Notify(lock.Notice{Kind: lock.Warning, Err: foreign})
	}
	if key.session != "" {
		return lock.ErrHeld
	}
	return nil
}

// leave gives back what a campaign without success has, within leaveTime and
// whatever ctx that campaign had. If the lock was tried, the answer may be what is
// missing.
func (l *locker) leave(x *session, tried bool) error {
	x.stop()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	err := l.store.quit(ctx, l.keys, x.id, tried, x.queued)
	if errors.Is(err, lock.ErrConfig) {
		return nil // of a record that nobody can read; the key is free
	}
	return err
}

// run takes the campaign from the session to the victory.
func (a *campaign) run(parent context.Context) (*lease, error) {
	ctx, cancel := context.WithCancel(parent)
	// The session is renewed all the while. Without it there is nothing to wait for.
	a.tasks.Go(func() {
		select {
		case <-a.keeper.Lost():
			cancel()
		case <-ctx.Done():
		}
	})
	e, err := a.compete(ctx)
	cancel()
	a.tasks.Wait()
	switch {
	case err == nil:
		return e, nil
	case a.keeper.Err() != nil:
		return nil, fmt.Errorf("%w: lost the session while standing by: %w", lock.ErrUnavailable, a.keeper.Err())
	case parent.Err() != nil:
		return nil, context.Cause(parent)
	}
	return nil, err
}

func (a *campaign) compete(ctx context.Context) (*lease, error) {
	a.enqueued = true
	if a.c.Enqueue != nil {
		if err := a.c.Enqueue(newTicket(a.l.election, a.x.id)); err != nil {
			return nil, fmt.Errorf("enter the campaign: %w", err)
		}
	}
	return a.wait(ctx)
}

// won makes the lease of a victory whose record is written.
func (a *campaign) won(rec record) (*lease, error) {
	if err := a.keeper.Err(); err != nil {
		return nil, err // leave gives it back: nothing was started
	}
	return newLease(a.l, a.x, a.keeper, rec, a.replaced), nil
}
