package etcd

import (
	"context"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// A view is what the campaign knows of the queue.
type view struct {
	stale bool   // what follows must be read again before anything is decided
	pred  *place // the nearest before us; nil: we are first
	rec   record
	leads bool // the owner of rec has the first place, as far as we know

	watching bool               // rec
	unwatch  context.CancelFunc // pred
	expiry   *expiry            // of pred's lease, if pred leads
}

// leader is who leads as far as people should be told; zero for nobody.
func (a *campaign) leader() lock.Holder {
	if !a.v.leads {
		return lock.Holder{}
	}
	h := a.v.rec.Holder
	h.Token = a.v.rec.Token
	return h
}

// see takes what a read of the queue has shown: the place before ours, the
// first of all, and the record.
func (a *campaign) see(pred, first *place, rec record) {
	v := &a.v
	rec = a.recall(rec)
	if old := v.pred; old != nil && (pred == nil || pred.key != old.key || pred.create != old.create) {
		if v.unwatch != nil {
			v.unwatch()
			v.unwatch = nil
		}
		if rec.State == lock.Held && rec.Owner == old.owner() && pred == nil {
			a.settle = newSettling(old.owner(), bootclock.Now(), v.expiry)
		}
		v.expiry = nil
	}
	v.stale, v.pred, v.rec = false, pred, rec
	v.leads = rec.State == lock.Held && rec.Owner == first.owner()
	again := lock.Spread(lookAfter/2, lookAfter*3/2) // not all who stand by at once
	if pred == nil {
		again = settleLook
	}
	a.lookAt = bootclock.Now().Add(again)
	a.warnOfStranger()
}

// recall puts what was seen before in the place of a record that is gone: whoever
// deletes an election with all its keys takes the lock from its holder, for whom
// the next one settles even so.
func (a *campaign) recall(rec record) record {
	seen := &a.l.store.records
	if rec.rev != 0 {
		seen.Store(rec.key, rec.Record)
	} else if last, ok := seen.Load(rec.key); ok {
		rec.Record = last.(lock.Record)
	}
	return rec
}

func (a *campaign) warnOfStranger() {
	if err := a.v.pred.stranger(); err != nil && a.warned != a.v.pred.key {
		a.warned = a.v.pred.key
		a.c.Notify(lock.Notice{Kind: lock.Warning, Err: err})
	}
}
