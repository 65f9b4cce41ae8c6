package servers

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestProxyForwards(t *testing.T) {
	p := NewProxy(t, echoServer(t))
	c := dial(t, p)
	c.says("one")
	c.hears("one")
	// A half-closed connection still brings the answer, then the end.
	c.says("two")
	must(t, c.CloseWrite())
	c.hears("two")
	c.hearsTheEnd()
}

func TestProxyHolds(t *testing.T) {
	p := NewProxy(t, echoServer(t))
	old := dial(t, p)
	old.says("one")
	old.hears("one")
	p.Hold()
	p.Hold() // no harm
	old.says("two")
	fresh := dial(t, p) // accepted, and then nothing
	fresh.says("three")
	old.hearsNothing()
	fresh.hearsNothing()
	p.Resume()
	p.Resume()
	old.hears("two")
	fresh.hears("three")
}

func TestProxyHoldsTheEnd(t *testing.T) {
	p := NewProxy(t, echoServer(t))
	c := dial(t, p)
	c.says("one")
	c.hears("one")
	p.Hold()
	must(t, c.CloseWrite()) // the echo would end its side in answer
	c.hearsNothing()
	p.Resume()
	c.hearsTheEnd()
}

func TestProxyResets(t *testing.T) {
	p := NewProxy(t, echoServer(t))
	forwarded := dial(t, p)
	forwarded.says("one")
	forwarded.hears("one")
	p.Hold()
	held := dial(t, p)
	held.says("two")
	for _, c := range []*client{forwarded, held} {
		waitFor(t, "a reset", func() bool {
			p.Reset() // again: the proxy may not have accepted the last one yet
			must(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
			_, err := c.r.ReadString('\n')
			return errors.Is(err, syscall.ECONNRESET)
		})
	}
	p.Resume()
	next := dial(t, p)
	next.says("three")
	next.hears("three")
	p.Close()
	if _, err := net.Dial("tcp", p.Addr()); err == nil {
		t.Error("a closed proxy accepts")
	}
}

func TestProxyBeforeEtcd(t *testing.T) {
	e := StartEtcd(t, EtcdOptions{})
	p := NewProxy(t, e.Endpoints()[0])
	via := append(cleanEnv(), "ETCDCTL_ENDPOINTS="+p.Addr())
	_, err := e.ctl(via, "", "put", "a", "b")
	must(t, err)
	p.Hold()
	if _, err := e.ctl(via, "", "--command-timeout=500ms", "get", "a"); err == nil {
		t.Error("etcd answered through a held proxy")
	}
	p.Resume()
	_, err = e.ctl(via, "", "get", "a")
	must(t, err)
}

type client struct {
	*net.TCPConn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, p *Proxy) *client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &client{TCPConn: c.(*net.TCPConn), t: t, r: bufio.NewReader(c)}
}

func (c *client) says(s string) {
	c.t.Helper()
	_, err := io.WriteString(c, s+"\n")
	must(c.t, err)
}

func (c *client) hears(want string) {
	c.t.Helper()
	must(c.t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	got, err := c.r.ReadString('\n')
	if err != nil || got != want+"\n" {
		c.t.Fatalf("heard %q, %v, not %q", got, err, want)
	}
}

func (c *client) hearsTheEnd() {
	c.t.Helper()
	must(c.t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	if got, err := c.r.ReadString('\n'); !errors.Is(err, io.EOF) {
		c.t.Errorf("heard %q, %v, not the end", got, err)
	}
}

func (c *client) hearsNothing() {
	c.t.Helper()
	must(c.t, c.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	if got, err := c.r.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("heard %q, %v, not silence", got, err)
	}
}

func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}
