package consul

import (
	"context"
	"errors"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
)

// giveBack ends a tenure: in one transaction its record goes from held to clean
// and its key is free. The record of anybody else stays as it is. It tries until
// ctx is done, and may be called again. The session is left.
//
// rec is the record as the tenure wrote it, or the zero record if that is not
// known; then it is read first, so that the key is never free before the record is
// clean: the next holder would settle for nothing.
func (s *Store) giveBack(ctx context.Context, k keys, session string, rec record) error {
	holds := true // until a read says otherwise
	known := rec.index != 0
	return lock.Persist(ctx, func(ctx context.Context) error {
		for {
			var broken error // a record that nobody can read does not keep the key
			if !known {
				key, stored, err := s.readPlaces(ctx, k)
				if err != nil {
					return err
				}
				rec, broken = decodeRecord(k.record(), stored)
				holds, known = key.session == session, true
			}
			var ops []*api.KVTxnOp
			var clean []byte
			if rec.heldBy(session) {
				r := rec.Record
				r.State = lock.Clean
				clean = r.Encode()
				ops = append(ops, s.opCAS(k.record(), rec.index, clean))
			}
			if holds {
				if len(ops) == 0 {
					// Ours may be on its way yet, by a request whose answer was not
					// waited for.
					ops = append(ops, s.opSame(k.record(), rec.index))
				}
				unlock := s.opLock(api.KVUnlock, k.lock(), session)
				unlock.Value = clean // whoever watches the key then need not read the record
				ops = append(ops, unlock)
			}
			if len(ops) == 0 {
				return broken
			}
			_, err := s.txn(ctx, ops...)
			var why conflict
			if !errors.As(err, &why) {
				return errors.Join(err, broken)
			}
			// Rolled back, by what our own earlier attempt did whose answer was lost,
			// by a winner, or by hand: look what there is now.
			known = false
		}
	})
}

// quit ends a campaign, of which the session may hold anything or nothing. What is still
// on its way can come until the session has ended, hence the order: a lock with its
// record comes in one transaction.
func (s *Store) quit(ctx context.Context, k keys, session string, tried, queued bool) error {
	unlock := func() error {
		if !tried {
			return nil
		}
		return s.giveBack(ctx, k, session, record{})
	}
	if err := unlock(); err != nil && !errors.Is(err, lock.ErrConfig) {
		return err
	}
	if err := lock.Persist(ctx, func(ctx context.Context) error { return s.destroy(ctx, session) }); err != nil {
		return err
	}
	err := unlock()
	if !queued {
		return err
	}
	return errors.Join(err, lock.Persist(ctx, func(ctx context.Context) error {
		_, err := s.txn(ctx, s.op(api.KVDelete, k.place(session)))
		if forbidden(err) {
			return nil // and so it had none
		}
		return err
	}))
}
