package etcd

import (
	"context"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// giveBack ends a tenure: in one transaction its record goes from held to clean
// and its place in the queue is gone. The record of anybody else stays as it
// is. It tries until ctx is done, and may be called again. The lease is left.
//
// rec is the record as the tenure wrote it, or the zero record if that is not
// known; then it is read first, so that the place never goes before the record:
// the next in the queue would settle for nothing.
func (s *Store) giveBack(ctx context.Context, k keys, id leaseID, rec record) error {
	var broken error // a record that nobody can read does not keep us in the queue
	err := lock.Persist(ctx, func(ctx context.Context) error {
		if rec.rev == 0 {
			kv, seen, err := s.read(ctx, k.record())
			if err != nil {
				return err
			}
			rec, broken = decodeRecord(k.record(), kv, seen)
		}
		for {
			found, err := s.tryGiveBack(ctx, k, id, rec)
			if found == nil || err != nil {
				return err
			}
			rec, broken = decodeRecord(k.record(), only(rangeOf(found, 0)), found.Header.Revision)
		}
	})
	if err == nil {
		err = broken
	}
	return err
}

// tryGiveBack makes one attempt. If the record is not the one given it returns
// what stands there instead: written by our own earlier attempt whose answer
// was lost, by a winner, or by hand.
func (s *Store) tryGiveBack(ctx context.Context, k keys, id leaseID, rec record) (found *pb.TxnResponse, err error) {
	same := []*pb.Compare{modified(k.record(), rec.rev)}
	then := []*pb.RequestOp{remove(k.place(id))}
	if rec.State == lock.Held && rec.Owner == leaseName(id) {
		clean := rec.Record
		clean.State = lock.Clean
		then = append(then, put(k.record(), clean.Encode(), noLease))
	}
	resp, err := s.txn(ctx, same, then, []*pb.RequestOp{get(k.record())})
	if err != nil || resp.Succeeded {
		return nil, err
	}
	return resp, nil
}
