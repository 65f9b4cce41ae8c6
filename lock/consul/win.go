package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// look reads the two keys as of now.
func (a *campaign) look(ctx context.Context) error {
	key, stored, err := a.l.store.readPlaces(ctx, a.l.keys)
	if err != nil {
		return err
	}
	rec, err := a.decode(stored)
	if err != nil {
		return err
	}
	a.stale, a.looked = false, true
	return a.see(key, rec)
}

// decode puts what was seen before in the place of a record that is gone: whoever
// deletes an election with all its keys takes the lock from its holder, for whom
// the next one settles even so.
func (a *campaign) decode(p *api.KVPair) (record, error) {
	rec, err := decodeRecord(a.l.keys.record(), p)
	seen := &a.l.store.records
	if rec.index != 0 && err == nil {
		seen.Store(rec.key, rec.Record)
	} else if last, ok := seen.Load(rec.key); ok && err == nil {
		rec.Record = last.(lock.Record)
	}
	return rec, err
}

// see takes what a read or a watch has shown.
func (a *campaign) see(key lockKey, rec record) error {
	mine := a.key.session == a.x.id
	if !mine && key.session == a.x.id {
		a.gotLock(key, bootclock.Now()) // by an attempt whose answer was lost
	}
	if mine {
		if err := a.x.ours(key); err != nil {
			a.keeper.Lose(err)
			return err
		}
	}
	a.key, a.rec, a.refused = key, rec, false
	switch {
	case key.session == a.x.id:
		a.lookAt = bootclock.Now().Add(settleLook)
	case rec.heldBy(key.session):
		a.lookAt = bootclock.Now().Add(lock.Spread(lookAfter/2, lookAfter*3/2)) // not all at once
		a.retry = retryFirst
	default: // whoever has the lock has not written its record yet, or nobody has it
		a.lookSoon()
	}
	foreign := key.foreign(a.l.keys.lock(), rec)
	if errors.Is(foreign, lock.ErrConfig) {
		return foreign
	}
	if foreign != nil && a.warned != key.session {
		a.warned = key.session
		a.c.Notify(lock.Notice{Kind: lock.Warning, Err: foreign})
	}
	return nil
}

func (a *campaign) lookSoon() {
	a.lookAt = bootclock.Now().Add(a.retry)
	a.retry = min(2*a.retry, retryMost)
}

// acquire locks the key, in a transaction with its being as we saw it: a request
// that arrives late, after its answer was given up, must not lock anything.
func (a *campaign) acquire(ctx context.Context) error {
	holder, err := json.Marshal(lock.Holder{ID: a.c.ID, Host: a.c.Host, Since: time.Now()})
	if err != nil {
		return err
	}
	s, k := a.l.store, a.l.keys
	op := s.opLock("lock", k.lock(), a.x.id)
	op.Value = holder
	a.tried = true
	sent := bootclock.Now()
	// Not api.KVGetOrEmpty: an older follower, in a cluster that is being upgraded,
	// would not apply the transaction that the others do, and lock for somebody else
	// once it is the leader (1.14 has it; hashicorp/consul#21519).
	record := s.opSame(k.record(), 0)
	if a.rec.index != 0 {
		record = s.op(api.KVGet, k.record())
	}
	pairs, err := s.txn(ctx, s.opSame(k.lock(), a.key.index), record, op)
	var why conflict
	switch {
	case errors.As(err, &why):
		a.refused = true
		if strings.Contains(why.Error(), "lock delay") && !a.delayed {
			a.delayed, a.retry = true, 2*lockDelay // of one of our sessions, it is over by then
		}
		a.lookSoon()
		if strings.Contains(why.Error(), "invalid session") {
			return a.noSession(ctx)
		}
		return nil // somebody was faster, or the lock-delay of whoever had it is not over
	case err != nil:
		return fmt.Errorf("lock: %w", err)
	}
	got, stored := lastOf(pairs, k.lock()), lastOf(pairs, k.record())
	if got == nil || got.Session != a.x.id || a.rec.index != 0 && stored == nil {
		return fmt.Errorf("lock: %w: consul answered half a transaction", lock.ErrUnavailable)
	}
	rec, err := a.decode(stored)
	if err != nil {
		return err
	}
	a.gotLock(lockKeyOf(got), sent)
	a.rec = rec
	a.lookAt = bootclock.Now().Add(settleLook)
	return nil
}

// lastOf is what a transaction's latest operation on the key left.
func lastOf(pairs api.KVPairs, key string) *api.KVPair {
	for _, p := range slices.Backward(pairs) {
		if p.Key == key {
			return p
		}
	}
	return nil
}

// noSession ends the campaign if that is true. The keeper would learn it later.
func (a *campaign) noSession(ctx context.Context) error {
	err := a.l.store.request(ctx, a.x.confirmLives)
	if errors.Is(err, lock.ErrLost) {
		a.keeper.Lose(err)
	}
	return err
}

// gotLock notes that the key is ours since a moment not before `at`.
func (a *campaign) gotLock(key lockKey, at bootclock.Instant) {
	a.key = key
	a.x.locked(key)
	a.settle = settling{from: at}
	a.held = lock.Record{
		Token: lock.Token(key.index), State: lock.Held, TTL: a.ttl, Owner: a.x.id,
		Holder: lock.Holder{ID: a.c.ID, Host: a.c.Host, Token: lock.Token(key.index)},
	}
}

// win writes our record if we hold the lock and the record is still the one for
// which we settled, all in one transaction: a lock seen to be ours a moment ago
// proves nothing. It returns the record with its index, or without one after
// another look.
func (a *campaign) win(ctx context.Context) (record, error) {
	s, k := a.l.store, a.l.keys
	if a.rec.index != 0 && a.rec.heldBy(a.x.id) {
		return a.rec, nil // by an attempt whose answer was lost
	}
	a.held.Holder.Since = time.Now()
	pairs, err := s.txn(ctx, s.opLock("check-session", k.lock(), a.x.id), s.opCAS(k.record(), a.rec.index, a.held.Encode()))
	var why conflict
	switch {
	case errors.As(err, &why):
		return record{}, a.look(ctx)
	case err != nil:
		return record{}, fmt.Errorf("write record: %w", err)
	case len(pairs) < 2:
		return record{}, fmt.Errorf("write record: %w: consul answered half a transaction", lock.ErrUnavailable)
	}
	return record{Record: a.held, key: k.record(), index: pairs[len(pairs)-1].ModifyIndex}, nil
}

// A settling is the wait of a winner for a tenure that did not say that it ended.
// It is over when the record says so, or at `until`: Consul does not tell whether a
// session ran out or was destroyed.
type settling struct {
	from  bootclock.Instant // the key was seen to be free
	owner string            // of the record that it is about
	until bootclock.Instant
}

// settled tells whether we, holding the lock, may write our record.
func (a *campaign) settled() bool {
	if !a.rec.heldByOther(a.x.id) {
		return true
	}
	if a.settle.owner != a.rec.Owner {
		a.settle.owner, a.settle.until = a.rec.Owner, a.settle.from.Add(lock.SettleTime)
	}
	return bootclock.Now() >= a.settle.until
}
