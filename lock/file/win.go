//go:build unix

package file

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// settleEvery is how often a winner looks whether the record is clean.
const settleEvery = 20 * time.Millisecond

// errTaken: another candidate wrote its record meanwhile, with another lock
// file.
var errTaken = errors.New("record taken by another candidate")

// win makes a tenure of the lock. After an error nothing is left of it but,
// perhaps, a clean record.
func (q *campaign) win(ctx context.Context) (lock.Lease, error) {
	heart, err := startHeartbeat(q.file, q.TTL)
	if err != nil {
		return nil, unavailable("lock "+q.path, err)
	}
	for {
		previous, err := q.settled(ctx, heart)
		if err != nil {
			return nil, err
		}
		lease, err := q.lead(ctx, heart, previous)
		if !errors.Is(err, errTaken) {
			return lease, err
		}
	}
}

// settled returns the owner of the previous tenure once that is over for good.
func (q *campaign) settled(ctx context.Context, heart *heartbeat) (previous string, err error) {
	defer heart.keepBeating(min(q.TTL/5, time.Second))() // it may take a while
	if err := q.file.inPlace(); err != nil {
		return "", err
	}
	s, err := q.dir.read()
	if err == nil {
		q.remember(s)
		q.recall(&s)
		err = q.settle(ctx, s)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return s.Record.Owner, err
}

// keepBeating returns a function that ends it.
func (l *heartbeat) keepBeating(every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = l.beat()
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// settle waits as long as the state asks for.
func (q *campaign) settle(ctx context.Context, s state) error {
	r := s.Record
	if r.State != lock.Held || !q.sameBoot(r) {
		return nil
	}
	// If it held this lock file, then no process of it is left that had the
	// lock, and at most what both have left is to be ended. If it held another
	// one, it may live. What is left in another PID namespace, such as a
	// container, may not be seen from here: it is dying with that namespace, in
	// which process 1 ends after the lock is free.
	unseen := s.Lock != q.file.id || r.Host.PIDNS != q.store.pidNS
	if expired, _ := q.store.expired.Load(q.name); unseen && expired != r.Owner {
		clean, err := q.awaitClean(ctx, r.Owner)
		if clean || err != nil {
			return err
		}
	}
	return q.endOrphans(ctx, r)
}

// awaitClean waits until the owner's tree is dead, or lock.SettleTime.
func (q *campaign) awaitClean(ctx context.Context, owner string) (clean bool, err error) {
	state := reader{dir: q.dir}
	limit := time.NewTimer(lock.SettleTime)
	defer limit.Stop()
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		s, err := state.read()
		q.recall(&s)
		if err != nil || s.Record.Owner != owner || s.Record.State != lock.Held {
			return true, err
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-limit.C:
			return false, nil
		case <-tick.C:
		}
	}
}

// lead writes the record, provided that it is still the one that was settled,
// and starts to renew.
func (q *campaign) lead(ctx context.Context, heart *heartbeat, previous string) (lock.Lease, error) {
	sent := bootclock.Now()
	if err := heart.beat(); err != nil {
		return nil, unavailable("lock "+q.path, err)
	}
	token, replaced, err := q.writeHeld(previous)
	if errors.Is(err, errTaken) {
		return nil, err
	}
	var l *lease
	if err == nil {
		q.dir.tidy()
		l, err = q.keep(heart, lock.Grant{Sent: sent, Lifetime: q.TTL}, token, replaced)
	}
	if err != nil { // the record may be there although its writing failed
		return nil, errors.Join(err, q.dir.clean(q.owner, nil))
	}
	if ctx.Err() != nil {
		_ = l.Release(context.WithoutCancel(ctx)) // nothing ran: what remains is harmless
		return nil, context.Cause(ctx)
	}
	return l, nil
}

func (q *campaign) writeHeld(previous string) (token lock.Token, replaced lock.Record, err error) {
	err = q.dir.update(true, func(s *state) error {
		q.recall(s)
		switch s.Record.Owner {
		case q.owner:
			return errSame // it was stored, after all
		case previous:
		default:
			return errTaken
		}
		if token = s.Record.Token + 1; token == 0 {
			return fmt.Errorf("%w: --store file: no fencing token comes after %d, in %s: look who wrote that", lock.ErrConfig, s.Record.Token, q.dir.file(s.version))
		}
		replaced = s.Record
		s.Record = lock.Record{
			Token: token, State: lock.Held, TTL: q.TTL, Owner: q.owner,
			Holder: lock.Holder{ID: q.ID, Host: q.Host, PID: q.PID, Token: token, Since: time.Now()},
			Host:   &lock.HostRecord{BootID: q.store.boot, PIDNS: q.store.pidNS},
		}
		if q.Cgroup != nil {
			s.Record.Host.Cgroup = q.Cgroup()
		}
		s.Lock = q.file.id
		return nil
	})
	return token, replaced, err
}
