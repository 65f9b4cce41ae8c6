package servers

import (
	"net"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between a client and a server on TCP and can fall silent: what a
// network does that drops packets, as far as the two programs can see. Their kernels
// see more, since the proxy goes on acknowledging: for lost packets there is Netns.
//
// Bytes that were sent before Hold was called may still arrive; those sent after it
// returned never do before Resume.
type Proxy struct {
	target string
	l      net.Listener
	closed chan struct{}

	mu       sync.Mutex
	up, down way // to the server, to the client
	conns    map[net.Conn]bool
}

// NewProxy starts a proxy to target, host:port, that ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	return NewProxyAt(t, "127.0.0.1", target)
}

// NewProxyAt is NewProxy for clients that reach this host at an address of its own.
func NewProxyAt(t testing.TB, host, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		target: target, l: l, closed: make(chan struct{}), conns: map[net.Conn]bool{},
		up: way{open: make(chan struct{})}, down: way{open: make(chan struct{})},
	}
	p.Resume()
	go p.accept()
	t.Cleanup(p.Close)
	return p
}

// Addr returns where clients connect to, host:port.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Hold stops forwarding in both directions. Connections stay open, new ones are
// accepted, nothing passes, not even the end of a connection.
func (p *Proxy) Hold() { p.hold(&p.up, &p.down) }

// HoldUp stops only what goes to the server.
func (p *Proxy) HoldUp() { p.hold(&p.up) }

// HoldDown stops only what comes from the server.
func (p *Proxy) HoldDown() { p.hold(&p.down) }

func (p *Proxy) hold(ways ...*way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range ways {
		if isClosed(w.open) {
			w.open = make(chan struct{})
		}
	}
}

// Resume forwards what was held, and all that comes.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range []*way{&p.up, &p.down} {
		if !isClosed(w.open) {
			close(w.open)
		}
	}
}

// Delay lets what is sent from now on arrive so much later: to the server, to the
// client. It takes nothing of the bandwidth.
func (p *Proxy) Delay(up, down time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up.delay, p.down.delay = up, down
}

// Reset ends every connection with a RST to both sides. New ones are served.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// Close ends the proxy and its connections. A second call does nothing.
func (p *Proxy) Close() {
	p.mu.Lock()
	done := isClosed(p.closed)
	if !done {
		close(p.closed)
	}
	p.mu.Unlock()
	if !done {
		_ = p.l.Close()
		p.Reset()
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		if p.add(c) {
			go p.serve(c)
		}
	}
}

// add remembers a connection for Reset. A closed proxy takes no more.
func (p *Proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isClosed(p.closed) {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) remove(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

func (p *Proxy) serve(client net.Conn) {
	defer p.remove(client)
	if !p.pass(&p.up, time.Now()) {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil || !p.add(server) {
		return
	}
	defer p.remove(server)
	var both sync.WaitGroup
	both.Go(func() { p.copy(&p.up, server, client) })
	both.Go(func() { p.copy(&p.down, client, server) })
	both.Wait()
}
