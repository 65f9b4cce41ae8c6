package etcd

import (
	"context"
	"time"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// look reads the queue as of now.
func (a *campaign) look(ctx context.Context) error {
	resp, err := a.l.store.txn(ctx, nil, a.lookOps(), nil)
	if err != nil {
		return err
	}
	return a.take(resp)
}

func (a *campaign) lookOps() []*pb.RequestOp {
	k := a.l.keys
	return []*pb.RequestOp{
		last(k.queue(), a.x.create.Load()-1),
		first(k.queue()),
		get(k.record()),
		get(a.x.key),
	}
}

// take makes the view from the answer to lookOps.
func (a *campaign) take(resp *pb.TxnResponse) error {
	if err := a.x.ours(only(rangeOf(resp, 3))); err != nil {
		a.keeper.Lose(err)
		return err
	}
	rec, err := decodeRecord(a.l.keys.record(), only(rangeOf(resp, 2)), resp.Header.Revision)
	if err != nil {
		return err
	}
	a.see(placeOf(rangeOf(resp, 0)), placeOf(rangeOf(resp, 1)), rec)
	return nil
}

// win writes our record if we are first in the queue and the record is still
// the one for which we settled, all in one transaction: a place seen to be
// ours a moment ago proves nothing. It returns the revision of our record, or
// zero with a new view.
func (a *campaign) win(ctx context.Context) (int64, error) {
	rec, create := a.v.rec, a.x.create.Load()
	if rec.rev != 0 && rec.State == lock.Held && rec.Owner == leaseName(a.x.id) {
		return rec.rev, nil // by an attempt whose answer was lost
	}
	if !a.tried {
		a.tried = true
		a.held = lock.Record{
			Token: lock.Token(create), State: lock.Held, TTL: a.ttl, Owner: leaseName(a.x.id),
			Holder: lock.Holder{ID: a.c.ID, Host: a.c.Host, PID: a.c.PID, Token: lock.Token(create)},
		}
	}
	a.held.Holder.Since, a.replaced = time.Now(), rec.Record
	k := a.l.keys
	resp, err := a.l.store.txn(ctx, []*pb.Compare{
		created(a.x.key, create),
		leased(a.x.key, a.x.id),
		noneBefore(k.queue(), create),
		modified(k.record(), rec.rev),
	}, []*pb.RequestOp{put(k.record(), a.held.Encode(), noLease)}, a.lookOps())
	if err != nil {
		return 0, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	return 0, a.take(resp)
}
