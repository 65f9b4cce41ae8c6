package servers

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
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

	mu    sync.Mutex
	open  chan struct{} // closed while the proxy forwards
	conns map[net.Conn]bool
}

// NewProxy starts a proxy to target, host:port, that ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		target: target, l: l, closed: make(chan struct{}),
		open: make(chan struct{}), conns: map[net.Conn]bool{},
	}
	close(p.open)
	go p.accept()
	t.Cleanup(p.Close)
	return p
}

// Addr returns where clients connect to, host:port.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Hold stops forwarding in both directions. Connections stay open, new ones are
// accepted, nothing passes, not even the end of a connection.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isClosed(p.open) {
		p.open = make(chan struct{})
	}
}

// Resume forwards what was held, and all that comes.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !isClosed(p.open) {
		close(p.open)
	}
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
	if !p.pass() {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil || !p.add(server) {
		return
	}
	defer p.remove(server)
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client) })
	both.Go(func() { p.copy(client, server) })
	both.Wait()
}

// pass waits while the proxy is held. It is false once it is closed.
func (p *Proxy) pass() bool {
	for {
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		if isClosed(open) {
			return !isClosed(p.closed)
		}
		select {
		case <-open: // held again, perhaps: look once more
		case <-p.closed:
			return false
		}
	}
}

// copy asks whether it may pass between reading and writing: what it was waiting
// for when the proxy was held must not slip through.
func (p *Proxy) copy(dst, src net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if !p.pass() {
			return
		}
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if tcp, ok := dst.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		case err != nil:
			// One side is gone without a goodbye: neither hears from the other again.
			_ = src.Close()
			_ = dst.Close()
			return
		}
	}
}
