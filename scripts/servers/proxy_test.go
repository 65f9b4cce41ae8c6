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

func TestProxyHoldsOneWay(t *testing.T) {
	for name, hold := range map[string]func(*Proxy){"up": (*Proxy).HoldUp, "down": (*Proxy).HoldDown} {
		t.Run(name, func(t *testing.T) {
			heard := make(chan string, 9)
			p := NewProxy(t, listener(t, heard))
			c := dial(t, p)
			c.says("one")
			c.hears("one")
			<-heard
			hold(p)
			c.says("two")
			c.hearsNothing()
			if got := len(heard); got != map[string]int{"up": 0, "down": 1}[name] {
				t.Errorf("the server heard %d lines", got)
			}
			p.Resume()
			c.hears("two")
		})
	}
}

func TestProxyDelays(t *testing.T) {
	const up, down = 100 * time.Millisecond, 200 * time.Millisecond
	p := NewProxy(t, echoServer(t))
	c := dial(t, p)
	p.Delay(up, down)
	begin := time.Now()
	c.says("one")
	c.says("two")
	c.hears("one")
	c.hears("two")
	if took := time.Since(begin); took < up+down || took > 2*(up+down)-50*time.Millisecond {
		t.Errorf("two lines took %v, want little more than %v", took, up+down)
	}
	p.Delay(0, 0)
	begin = time.Now()
	c.says("three")
	c.hears("three")
	if took := time.Since(begin); took > down {
		t.Errorf("took %v without a delay", took)
	}
}

// What is late is held with the rest.
func TestProxyHoldsTheLate(t *testing.T) {
	p := NewProxy(t, echoServer(t))
	c := dial(t, p)
	p.Delay(0, 50*time.Millisecond)
	c.says("one")
	p.Hold()
	c.hearsNothing()
	p.Resume()
	c.hears("one")
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
	return serve(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
}

// listener is an echoServer that tells of each line that it hears.
func listener(t *testing.T, heard chan<- string) string {
	t.Helper()
	return serve(t, func(c net.Conn) {
		for lines := bufio.NewScanner(c); lines.Scan(); {
			heard <- lines.Text()
			_, _ = io.WriteString(c, lines.Text()+"\n")
		}
	})
}

func serve(t *testing.T, talk func(net.Conn)) string {
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
			go func() { talk(c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}
