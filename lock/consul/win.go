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

// look reads the two keys as of now, and the queue if need be.
func (a *campaign) look(ctx context.Context) error {
	k, prefix := a.l.keys, ""
	if a.unsorted {
		prefix = k.queue()
	}
	pairs, err := a.l.store.readAbove(ctx, prefix, k.lock(), k.record())
	if err != nil {
		return err
	}
	key := lockKeyOf(pairs[0])
	rec, err := a.decode(pairs[1])
	if err != nil {
		return err
	}
	if a.unsorted {
		a.arrange(pairs[2:])
	}
	a.stale, a.looked = false, true
	return a.see(key, rec)
}

// decode puts what was seen before in the place of a record that is gone: whoever
// deletes an election with all its keys takes the lock from its holder, for whom
// the next one settles even so. That may be a later one than was seen, which we
// heard nothing of in the middle of the queue.
func (a *campaign) decode(p *api.KVPair) (record, error) {
	rec, err := decodeRecord(a.l.keys.record(), p)
	seen := &a.l.store.records
	if rec.index != 0 && err == nil {
		seen.Store(rec.key, rec.Record)
	} else if last, ok := seen.Load(rec.key); ok && err == nil {
		rec.Record = last.(lock.Record)
		rec.State = lock.Held
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
	case a.pred != nil:
		a.waitTurn(key)
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
// that arrives late, after its answer was given up, must not lock anything. If there
// is nobody to settle for, that transaction writes our record, too.
func (a *campaign) acquire(ctx context.Context) error {
	s, k := a.l.store, a.l.keys
	op := s.opLock(api.KVLock, k.lock(), a.x.id)
	op.Value = a.holder()
	record, won := a.opRecord()
	ops := []*api.KVTxnOp{s.opSame(k.lock(), a.key.index), op, record}
	if a.placed || a.x.queued && !a.alone { // perhaps by a request whose answer was lost
		ops = append(ops, append(a.sweep(), s.op(api.KVDelete, k.place(a.x.id)))...)
	}
	a.tried, a.replaced = true, a.rec.Record
	sent := bootclock.Now()
	pairs, err := s.txn(ctx, ops...)
	var why conflict
	switch {
	case errors.As(err, &why):
		a.refused = true
		if strings.Contains(why.Error(), "lock delay") && !a.delayed {
			a.delayed, a.retry = true, 2*lockDelay // of one of our sessions, it is over by then
		}
		a.lookSoon()
		return a.noSession(ctx, why) // else somebody was faster, or the lock-delay of whoever had it is not over
	case err != nil:
		return fmt.Errorf("lock: %w", err)
	}
	got, stored := lastOf(pairs, k.lock()), lastOf(pairs, k.record())
	if got == nil || got.Session != a.x.id || stored == nil && record.Verb != api.KVCheckNotExists {
		return fmt.Errorf("lock: %w: consul answered half a transaction", lock.ErrUnavailable)
	}
	a.gotLock(lockKeyOf(got), sent)
	if won != nil {
		won.index = stored.ModifyIndex
		a.rec = *won
		return nil
	}
	a.lookAt = bootclock.Now().Add(settleLook)
	a.rec, err = a.decode(stored)
	return err
}

// opRecord is what the locking transaction does with the record: it writes ours, which
// is returned, if there is nobody to settle for.
func (a *campaign) opRecord() (*api.KVTxnOp, *record) {
	s, name := a.l.store, a.l.keys.record()
	switch {
	case a.key.index != 0 && !a.rec.heldByOther(a.x.id):
		// What will be the key's index is not known yet. The next tenure's token counts
		// from one that is not less.
		won := &record{Record: a.newRecord(lock.Token(a.key.index + 1)), key: name}
		return s.opCAS(name, a.rec.index, won.Encode()), won
	case a.rec.index != 0:
		// Not api.KVGetOrEmpty: an older follower, in a cluster that is being upgraded,
		// would not apply the transaction that the others do, and lock for somebody else
		// once it is the leader (1.14 has it; hashicorp/consul#21519).
		return s.op(api.KVGet, name), nil
	}
	return s.opSame(name, 0), nil
}

func (a *campaign) newRecord(token lock.Token) lock.Record {
	return lock.Record{
		Token: token, State: lock.Held, TTL: a.ttl, Owner: a.x.id,
		Holder: lock.Holder{ID: a.c.ID, Host: a.c.Host, PID: a.c.PID, Token: token, Since: time.Now()},
	}
}

// holder is what people find in a key that is locked.
func (a *campaign) holder() []byte {
	value, err := json.Marshal(lock.Holder{ID: a.c.ID, Host: a.c.Host, PID: a.c.PID, Since: time.Now()})
	if err != nil {
		panic(err) // two strings and now
	}
	return value
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

// noSession ends the campaign if that is why and true. The keeper would learn it later.
func (a *campaign) noSession(ctx context.Context, why conflict) error {
	if !strings.Contains(why.Error(), "invalid session") {
		return nil
	}
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
	a.held = a.newRecord(lock.Token(key.index))
}

// win writes our record if we hold the lock and the record is still the one for
// which we settled, all in one transaction: a lock seen to be ours a moment ago
// proves nothing. It returns the record with its index, or without one after
// another look.
func (a *campaign) win(ctx context.Context) (record, error) {
	s, k := a.l.store, a.l.keys
	if a.rec.index != 0 && a.rec.heldBy(a.x.id) {
		return a.rec, nil // by the transaction that locked, or an attempt whose answer was lost
	}
	a.held.Holder.Since, a.replaced = time.Now(), a.rec.Record
	pairs, err := s.txn(ctx, s.opLock(api.KVCheckSession, k.lock(), a.x.id), s.opCAS(k.record(), a.rec.index, a.held.Encode()))
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
