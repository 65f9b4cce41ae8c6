package etcd

import (
	"context"
	"encoding/json"
	"fmt"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// Holder implements lock.Locker.
func (l *locker) Holder(ctx context.Context) (lock.Holder, error) {
	resp, err := l.store.txn(ctx, nil, l.holderOps(), nil)
	if err != nil {
		return lock.Holder{}, fmt.Errorf("read holder: %w", err)
	}
	h, _, err := l.holderIn(resp)
	return h, err
}

func (l *locker) holderOps() []*pb.RequestOp {
	return []*pb.RequestOp{first(l.keys.queue()), get(l.keys.record())}
}

// holderIn takes the answer to holderOps, and returns also who has the first
// place. A record that says held counts only as long as its owner has that.
func (l *locker) holderIn(resp *pb.TxnResponse) (lock.Holder, *place, error) {
	head := placeOf(rangeOf(resp, 0))
	rec, err := decodeRecord(l.keys.record(), only(rangeOf(resp, 1)), resp.Header.Revision)
	if err != nil || rec.State != lock.Held || rec.Owner != head.owner() {
		return lock.Holder{}, head, err
	}
	h := rec.Holder
	h.Token, h.TTL = rec.Token, rec.TTL
	return h, head, nil
}

// Get implements lock.Records.
func (l *locker) Get(ctx context.Context, key string) ([]byte, error) {
	kv, _, err := l.store.read(ctx, l.keys.value(key))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	if kv == nil {
		return nil, nil
	}
	if kv.Value == nil {
		return []byte{}, nil // there is one, and it is empty
	}
	return kv.Value, nil
}

// Ask implements lock.Records.
func (l *locker) Ask(ctx context.Context, r lock.Request) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	if _, err = l.store.txn(ctx, nil, []*pb.RequestOp{put(l.keys.requests(), value, noLease)}, nil); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	return nil
}
