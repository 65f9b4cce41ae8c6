package zk

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// A conn is go-zookeeper on one link to one server, in one session. It does not
// reconnect: that the library does by rules of its own (a second's sleep between
// rounds, names resolved once, a new session after the old one's end), and a
// deadline leaves no room for that.
type conn struct {
	endpoint string
	user     string // logged in as
	wire     *wire
	zk       *zk.Conn
	events   <-chan zk.Event // closed when the library has ended
	welcome  welcome
	// fresh: the session was made on this connection and ends with it, for
	// nothing hangs on it.
	fresh atomic.Bool

	closing sync.Once
	gone    chan struct{}
}

var _ transport.Conn = (*conn)(nil)

// Buffers of the library, which are its own size else: 1.5 MB each way for every
// connection. A server takes and sends a megabyte at most (jute.maxbuffer).
const (
	sendBuffer    = 1<<20 + 1<<10
	receiveBuffer = 1<<20 + 1<<10
)

// newConn puts the library on a wire that was welcomed. It owns the wire.
func newConn(endpoint, user string, wire *wire, w welcome) *conn {
	c := &conn{endpoint: endpoint, user: user, wire: wire, welcome: w, gone: make(chan struct{})}
	var given atomic.Bool
	var err error
	c.zk, c.events, err = zk.Connect([]string{endpoint}, w.timeout,
		zk.WithDialer(func(string, string, time.Duration) (net.Conn, error) {
			if given.Swap(true) {
				return nil, errHungUp
			}
			return c.wire, nil
		}),
		zk.WithHostProvider(&once{addr: endpoint}),
		zk.WithLogger(silent{}), // its mishaps are not for standard error, which is the child's
		zk.WithLogInfo(false),
		zk.WithMaxBufferSize(receiveBuffer),
		zk.WithMaxConnBufferSize(sendBuffer),
	)
	if err != nil {
		panic(err) // of an empty list, or of our own HostProvider
	}
	return c
}

var errHungUp = errors.New("connection closed")

type silent struct{}

func (silent) Printf(string, ...any) {}

// once is a zk.HostProvider for one connection: after that there is nobody left,
// which makes the library fail what it has not sent.
type once struct {
	addr string
	used bool
}

func (o *once) Init([]string) error { return nil }
func (o *once) Len() int            { return 1 }
func (o *once) Connected()          {}
func (o *once) Next() (string, bool) {
	used := o.used
	o.used = true
	return o.addr, used
}

// login tells who we are. ZooKeeper looks at no password here: a wrong one is just
// another identity, which is found out when a node is not for it.
func (c *conn) login(ctx context.Context, password string) error {
	if c.user == "" {
		return nil
	}
	_, err := call(ctx, func() (struct{}, error) {
		return struct{}{}, c.zk.AddAuth("digest", []byte(c.user+":"+password))
	})
	return err
}

// call bounds a request of the library, which knows no context. A request that is
// given up ends with its connection (see Judge).
func call[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// Endpoint implements transport.Conn.
func (c *conn) Endpoint() string { return c.endpoint }

// Closed implements transport.Conn.
func (c *conn) Closed() <-chan struct{} { return c.wire.link.Closed() }

// Serves implements transport.Conn: a server without a majority gives no welcome.
func (c *conn) Serves() bool { return true }

// Close implements transport.Conn. Without abort it returns when nothing of the
// connection is left.
func (c *conn) Close(abort bool) {
	if abort {
		c.wire.link.Abort()
	}
	c.closing.Do(func() { go c.end(c.fresh.Load()) })
	if !abort {
		<-c.gone
	}
}

// end ends the connection and, if wanted, the session.
func (c *conn) end(session bool) {
	defer close(c.gone)
	if session {
		c.wire.goodbye.Store(true)
	} else {
		_ = c.wire.link.Close()
	}
	c.zk.Close() // takes a second if nobody answers
	_ = c.wire.link.Close()
	for range c.events {
	}
}

// endSession ends the session, and with it its nodes; nil if the server says so.
func (c *conn) endSession(ctx context.Context) error {
	c.closing.Do(func() { go c.end(true) })
	select {
	case <-c.wire.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.gone:
	}
	select {
	case <-c.wire.ended:
		return nil
	default:
		return c.fault(lock.ErrUnavailable, "end session: %w", errHungUp)
	}
}
