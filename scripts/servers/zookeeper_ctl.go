package servers

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// Admin returns a connection over which everything is allowed, whatever the ACLs
// say. It waits until there is a session; the caller closes it.
func (z *ZooKeeper) Admin() (*zk.Conn, error) {
	conn, err := z.connect("super:" + z.super)
	if err != nil {
		return nil, fmt.Errorf("administrate zookeeper: %w", err)
	}
	return conn, nil
}

// connect takes credentials as scheme digest does, user:password; "" is nobody.
func (z *ZooKeeper) connect(credentials string) (*zk.Conn, error) {
	dial := func(_, addr string, timeout time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return z.dial(ctx, addr)
	}
	conn, events, err := zk.Connect(z.Endpoints(), 10*time.Second, zk.WithLogger(silent{}), zk.WithDialer(dial))
	if err != nil {
		return nil, err
	}
	if err := awaitSession(events); err != nil {
		conn.Close()
		return nil, err
	}
	if credentials != "" {
		if err := conn.AddAuth("digest", []byte(credentials)); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

func awaitSession(events <-chan zk.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// setUp leaves the root to one user. ZooKeeper checks the parent's ACL for a new
// node, so that nobody else gets a foothold.
func (z *ZooKeeper) setUp() error {
	if z.o.User == "" {
		return nil
	}
	conn, err := z.Admin()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.SetACL("/", zk.DigestACL(zk.PermAll, z.o.User, z.o.Password), -1)
	return err
}

func (z *ZooKeeper) rejoined(*node) error { return nil }

// digest is how ZooKeeper writes a password down: an identity, not a secret's
// safekeeping.
func digest(user, password string) string {
	sum := sha1.Sum([]byte(user + ":" + password))
	return user + ":" + base64.StdEncoding.EncodeToString(sum[:])
}

func (z *ZooKeeper) leads(ctx context.Context, n *node) bool {
	mode, err := z.mode(ctx, n)
	return err == nil && (mode == "leader" || mode == "standalone")
}

func (z *ZooKeeper) healthy(ctx context.Context, n *node) error {
	_, err := z.mode(ctx, n)
	return err
}

// mode is what the node says it is: leader, follower, standalone. One that has no
// majority, or has not caught up with it yet, says none.
func (z *ZooKeeper) mode(ctx context.Context, n *node) (string, error) {
	answer, err := z.word(ctx, n, "srvr")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(answer) {
		if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
			return strings.TrimSpace(mode), nil
		}
	}
	return "", errors.New(strings.TrimSpace(answer))
}

// word sends one of ZooKeeper's four-letter words.
func (z *ZooKeeper) word(ctx context.Context, n *node, word string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := z.dial(ctx, n.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func (z *ZooKeeper) dial(ctx context.Context, addr string) (net.Conn, error) {
	cfg, err := z.certs.clientConfig()
	if err != nil {
		return nil, err
	}
	if cfg == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	return (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", addr)
}
