package consul

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
)

// Everything but a blocking query goes through transactions: what stands in a
// key's name then never meets the rules of URL paths, and one answer shows
// several keys as of one moment.

func (s *Store) op(verb api.KVOp, key string) *api.KVTxnOp {
	return &api.KVTxnOp{Verb: verb, Key: key, Namespace: s.place.namespace, Partition: s.place.partition}
}

func (s *Store) opLock(verb api.KVOp, key, session string) *api.KVTxnOp {
	op := s.op(verb, key)
	op.Session, op.Flags = session, lockFlags
	return op
}

func (s *Store) opPut(key string, value []byte) *api.KVTxnOp {
	op := s.op(api.KVSet, key)
	op.Value = value
	return op
}

// opSame fails the transaction if the key has changed since it had that index,
// 0 being no key.
func (s *Store) opSame(key string, index uint64) *api.KVTxnOp {
	if index == 0 {
		return s.op(api.KVCheckNotExists, key)
	}
	op := s.op(api.KVCheckIndex, key)
	op.Index = index
	return op
}

func (s *Store) opCAS(key string, index uint64, value []byte) *api.KVTxnOp {
	op := s.op(api.KVCAS, key)
	op.Index, op.Value = index, value
	return op
}

// A conflict is why a transaction was rolled back.
type conflict api.TxnErrors

func (c conflict) Error() string {
	var whats []string
	for _, e := range c {
		whats = append(whats, e.What)
	}
	return strings.Join(whats, "; ")
}

// at tells whether the n-th operation was refused.
func (c conflict) at(n int) bool {
	for _, e := range c {
		if e.OpIndex == n {
			return true
		}
	}
	return false
}

// txn runs one transaction. Rolled back, it fails with a conflict; of such a
// write that may not be made, the kind is lock.ErrDenied as everywhere.
func (s *Store) txn(ctx context.Context, ops ...*api.KVTxnOp) (api.KVPairs, error) {
	var pairs api.KVPairs
	err := s.request(ctx, func(ctx context.Context, l *line) (err error) {
		pairs, _, err = l.txn(ctx, ops...)
		return err
	})
	return pairs, err
}

// txn also tells whether the answer names a leader, as Consul's do to those that only read.
func (l *line) txn(ctx context.Context, ops ...*api.KVTxnOp) (pairs api.KVPairs, known bool, err error) {
	ok, resp, meta, err := l.client.KV().Txn(ops, l.query(ctx))
	if err != nil {
		return nil, false, err
	}
	if ok {
		return resp.Results, meta.KnownLeader, nil
	}
	why := conflict(resp.Errors)
	for _, e := range why {
		// Of the operations of a transaction each has a permission of its own.
		if isDenied(e.What) {
			return nil, false, l.denied("/v1/txn", e.What)
		}
		if strings.Contains(e.What, "unknown KV") { // operation, or verb
			return nil, false, l.fault(lock.ErrConfig, "it is too old: use at least Consul 1.14 (%s)", e.What)
		}
	}
	if len(why) == 0 {
		return nil, false, l.fault(lock.ErrUnavailable, "a transaction was rolled back without a reason")
	}
	return nil, false, why
}

// read returns keys as of one moment, by a linearizable read: the leader asked
// a majority whether it still is one. Of a key that does not exist the result
// has no indexes.
func (s *Store) read(ctx context.Context, keys ...string) (api.KVPairs, error) {
	return s.readAbove(ctx, "", keys...)
}

// readAbove reads the keys and then, unless it is empty, what is below a prefix.
func (s *Store) readAbove(ctx context.Context, prefix string, keys ...string) (api.KVPairs, error) {
	var pairs api.KVPairs
	err := s.request(ctx, func(ctx context.Context, l *line) (err error) {
		pairs, err = s.readOn(ctx, l, prefix, keys...)
		return err
	})
	return pairs, err
}

func (s *Store) readOn(ctx context.Context, l *line, prefix string, keys ...string) (api.KVPairs, error) {
	var ops []*api.KVTxnOp
	for _, key := range keys {
		ops = append(ops, s.op(api.KVGetOrEmpty, key))
	}
	if prefix != "" {
		ops = append(ops, s.op(api.KVGetTree, prefix))
	}
	pairs, known, err := l.txn(ctx, ops...)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		switch {
		case i < len(pairs) && pairs[i].Key == key:
		case !known:
			return nil, l.noConsul()
		default:
			// What a token may not read is left out of the answer, without a word.
			return nil, l.denied("/v1/txn", fmt.Sprintf("no permission to read %s", strings.Join(keys, ", ")))
		}
	}
	return pairs, nil
}

// readPlaces reads the two keys that decide everything: the lock, and the record as
// it is stored.
func (s *Store) readPlaces(ctx context.Context, k keys) (lockKey, *api.KVPair, error) {
	pairs, err := s.read(ctx, k.lock(), k.record())
	if err != nil {
		return lockKey{}, nil, err
	}
	return lockKeyOf(pairs[0]), pairs[1], nil
}

// query has the options of every read, and of transactions.
func (l *line) query(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

func (l *line) write(ctx context.Context) *api.WriteOptions {
	return (&api.WriteOptions{}).WithContext(ctx)
}

// isDenied recognises what Consul's ACLs say, of which transactions pass on the
// text alone.
func isDenied(text string) bool {
	return strings.Contains(text, "Permission denied") || strings.Contains(text, "ACL not found")
}

// okStatus tells whether api makes sense of an answer by itself.
func okStatus(req *http.Request, resp *http.Response) bool {
	switch path := req.URL.Path; resp.StatusCode {
	case http.StatusOK:
		return true
	case http.StatusConflict:
		return path == "/v1/txn"
	case http.StatusNotFound:
		// No such key, with the index that only Consul sends; no such session.
		return strings.HasPrefix(path, "/v1/kv/") && resp.Header.Get("X-Consul-Index") != "" ||
			strings.HasPrefix(path, "/v1/session/renew/")
	}
	return false
}
