package zk

import (
	"context"
	"errors"
	"strings"

	"github.com/go-zookeeper/zk"
)

// A node is what a read has found.
type node struct {
	data []byte
	stat zk.Stat
}

// A watched is a channel on which something comes once, when what was read may
// have changed or can no longer be watched.
type watched <-chan zk.Event

// get returns nil if there is no such node.
func (c *conn) get(ctx context.Context, path string) (*node, error) {
	n, err := call(ctx, func() (*node, error) {
		data, stat, err := c.zk.Get(path)
		return &node{data, deref(stat)}, err
	})
	return absent(n, c.denied(err, "read", path))
}

// stat returns nil if there is no such node. It needs no permission.
func (c *conn) stat(ctx context.Context, path string) (*node, error) {
	return call(ctx, func() (*node, error) {
		there, stat, err := c.zk.Exists(path)
		if !there || err != nil {
			return nil, err
		}
		return &node{stat: *stat}, nil
	})
}

// watch is get, and tells of the next change. It tells also of a node that comes.
func (c *conn) watch(ctx context.Context, path string) (*node, watched, error) {
	for {
		type found struct {
			n *node
			w watched
		}
		f, err := call(ctx, func() (found, error) {
			data, stat, w, err := c.zk.GetW(path)
			return found{&node{data, deref(stat)}, w}, err
		})
		if !errors.Is(err, zk.ErrNoNode) {
			return f.n, f.w, c.denied(err, "read", path)
		}
		f, err = call(ctx, func() (found, error) {
			there, stat, w, err := c.zk.ExistsW(path)
			if !there || err != nil {
				return found{nil, w}, err
			}
			return found{&node{stat: *stat}, w}, nil
		})
		if f.n == nil || err != nil {
			return nil, f.w, err
		}
		// It came in between. The watch that was left tells once too often.
	}
}

// watchGone tells when a node goes, and of nothing else: the watch is on its
// children, of which an ephemeral node has none. Watching the node itself would
// wake us at each of its holder's renewals. It returns nil if there is no such
// node.
func (c *conn) watchGone(ctx context.Context, path string) (*node, watched, error) {
	type found struct {
		n *node
		w watched
	}
	f, err := call(ctx, func() (found, error) {
		_, stat, w, err := c.zk.ChildrenW(path)
		return found{&node{stat: deref(stat)}, w}, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil, nil
	}
	return f.n, f.w, c.denied(err, "read", path)
}

// children returns nil if there is no such node.
func (c *conn) children(ctx context.Context, path string) ([]string, error) {
	names, err := call(ctx, func() ([]string, error) {
		names, _, err := c.zk.Children(path)
		return names, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	return names, c.denied(err, "read", path)
}

// sync makes the reads that follow on this connection see whatever was written
// before: a follower may be behind. A leader that was deposed answers it too, for
// a while.
func (c *conn) sync(ctx context.Context, path string) error {
	_, err := call(ctx, func() (string, error) { return c.zk.Sync(path) })
	return err
}

// create makes a node with the flags of zk, and returns its path.
func (c *conn) create(ctx context.Context, path string, data []byte, flags int32, acl []zk.ACL) (string, error) {
	made, err := call(ctx, func() (string, error) { return c.zk.Create(path, data, flags, acl) })
	return made, c.denied(err, "create", path)
}

// ensure makes a node, and those above it that are missing. It asks for those
// only when it must: there may be no permission above.
func (c *conn) ensure(ctx context.Context, path string, acl []zk.ACL) error {
	_, err := c.create(ctx, path, nil, zk.FlagPersistent, acl)
	// Once would do, but that a check removes what it has made (see trial.forget).
	for try := 1; errors.Is(err, zk.ErrNoNode) && try <= 3; try++ {
		if err := c.ensure(ctx, parent(path), acl); err != nil {
			return err
		}
		_, err = c.create(ctx, path, nil, zk.FlagPersistent, acl)
	}
	switch {
	case errors.Is(err, zk.ErrNodeExists):
		return nil
	case errors.Is(err, zk.ErrNoAuth): // is asked before whether it is there
		if n, _ := c.stat(ctx, path); n != nil {
			return nil
		}
	}
	return err
}

func (c *conn) set(ctx context.Context, path string, data []byte, version int32) (*node, error) {
	n, err := call(ctx, func() (*node, error) {
		stat, err := c.zk.Set(path, data, version)
		return &node{stat: deref(stat)}, err
	})
	return n, c.denied(err, "write", path)
}

func absent(n *node, err error) (*node, error) {
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

func deref(s *zk.Stat) zk.Stat {
	if s == nil {
		return zk.Stat{}
	}
	return *s
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}
