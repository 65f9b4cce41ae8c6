package zk

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"
)

// An op is one part of a transaction.
type op struct {
	request any
	verb    string
	path    string
}

func check(path string) op {
	return op{&zk.CheckVersionRequest{Path: path, Version: -1}, "read", path}
}

func setData(path string, data []byte, version int32) op {
	return op{&zk.SetDataRequest{Path: path, Data: data, Version: version}, "write", path}
}

func create(path string, data []byte, acl []zk.ACL) op {
	return op{&zk.CreateRequest{Path: path, Data: data, Acl: acl}, "create", path}
}

func remove(path string) op {
	return op{&zk.DeleteRequest{Path: path, Version: -1}, "delete", path}
}

// A failedOp is why a transaction was refused.
type failedOp struct {
	path string
	err  error
}

func (e *failedOp) Error() string { return e.path + ": " + e.err.Error() }
func (e *failedOp) Unwrap() error { return e.err }

// failed tells whether it was the operation on that path.
func failed(err error, path string) bool {
	var f *failedOp
	return errors.As(err, &f) && f.path == path
}

// multi runs all or nothing. A refusal is a *failedOp.
func (c *conn) multi(ctx context.Context, ops ...op) ([]zk.MultiResponse, error) {
	requests := make([]any, len(ops))
	for i, o := range ops {
		requests[i] = o.request
	}
	results, err := call(ctx, func() ([]zk.MultiResponse, error) { return c.zk.Multi(requests...) })
	if err == nil {
		return results, nil
	}
	for i, r := range results {
		if i < len(ops) && r.Error != nil { // the first; those after it were not tried
			return nil, &failedOp{ops[i].path, c.denied(r.Error, ops[i].verb, ops[i].path)}
		}
	}
	return nil, err
}
