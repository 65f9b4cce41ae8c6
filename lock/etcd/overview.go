package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// Elections implements lock.Store.
func (s *Store) Elections(ctx context.Context) ([]string, error) {
	var resp *pb.RangeResponse
	err := s.request(ctx, func(ctx context.Context, c *conn) (err error) {
		below := s.prefix + "/"
		resp, err = call(ctx, c.read, &pb.RangeRequest{Key: []byte(below), RangeEnd: prefixEnd(below), KeysOnly: true})
		return err
	})
	switch {
	case errors.Is(err, errPermissionDenied):
		return nil, fmt.Errorf("list elections: %w: where it may read only one, give --name", err)
	case err != nil:
		return nil, fmt.Errorf("list elections: %w", err)
	}
	var keys []string
	for _, kv := range resp.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return lock.ElectionsIn(s.prefix, keys, func(name string) bool {
		_, err := ticket{Lease: name}.leaseID()
		return err == nil
	}), nil
}

// Queue implements lock.Locker.
func (l *locker) Queue(ctx context.Context) ([]lock.Holder, error) {
	resp, err := l.store.txn(ctx, nil, []*pb.RequestOp{all(l.keys.queue()), get(l.keys.record())}, nil)
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	rec, err := decodeRecord(l.keys.record(), only(rangeOf(resp, 1)), resp.Header.Revision)
	if err != nil {
		return nil, err
	}
	var waiting []lock.Holder
	for _, kv := range rangeOf(resp, 0) {
		var h lock.Holder
		leads := rec.State == lock.Held && rec.Owner == placeOf([]*pb.KeyValue{kv}).owner()
		if !leads && json.Unmarshal(kv.Value, &h) == nil && h.ID != "" {
			waiting = append(waiting, h)
		}
	}
	return waiting, nil
}
