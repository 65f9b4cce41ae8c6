package etcd

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"leaderrun/lock"
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

func (l *locker) holderOps() []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpGet(l.keys.queue(), clientv3.WithFirstCreate()...),
		clientv3.OpGet(l.keys.record()),
	}
}

// holderIn takes the answer to holderOps, and returns also who has the first
// place. A record that says held counts only as long as its owner has that.
func (l *locker) holderIn(resp *clientv3.TxnResponse) (lock.Holder, *place, error) {
	first := placeOf(rangeOf(resp, 0))
	rec, err := decodeRecord(l.keys.record(), only(rangeOf(resp, 1)), resp.Header.Revision)
	if err != nil || rec.State != lock.Held || rec.Owner != first.owner() {
		return lock.Holder{}, first, err
	}
	h := rec.Holder
	h.Token = rec.Token
	return h, first, nil
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
	err = l.store.request(ctx, func(ctx context.Context, c *conn) error {
		_, err := c.kv.Put(ctx, l.keys.requests(), string(value))
		return err
	})
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	return nil
}
