package transport

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Link is one connection, which what is above it gets already made: clients
// of stores report a bad certificate as text in a "try again" error, and then
// try again by rules of their own.
type Link struct {
	net.Conn // what the client reads and writes
	raw      net.Conn
	state    *tls.ConnectionState
	dialer   Dialer
	endpoint string

	closed chan struct{}
	once   sync.Once
	err    error
	heard  atomic.Bool
	alert  atomic.Uint32
}

// State returns nil without TLS.
func (l *Link) State() *tls.ConnectionState { return l.state }

// Closed is closed once the link is, by either of the two who may close it here.
func (l *Link) Closed() <-chan struct{} { return l.closed }

// Heard tells whether the server has sent anything.
func (l *Link) Heard() bool { return l.heard.Load() }

// Read notes an alert of the server: with TLS 1.3 the handshake is over for
// the client before the server has looked at the client's certificate.
func (l *Link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.heard.Store(true)
	}
	if alert, ok := alertOf(err); ok {
		l.alert.Store(uint32(alert))
	}
	return n, err
}

// Write looks for the server's last words when it no longer listens: the alert
// came before the end, but a client that cannot write does not read.
func (l *Link) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	if err != nil && l.state != nil {
		_ = l.raw.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = l.Read(make([]byte, 1))
	}
	return n, err
}

// Refused returns why the server ended the link, if it said so: a *Fault.
func (l *Link) Refused() error {
	if alert := l.alert.Load(); alert != 0 {
		return l.dialer.alertFault(l.endpoint, tls.AlertError(alert))
	}
	return nil
}

// Close closes TCP alone: a goodbye of TLS could block for seconds on a
// connection that takes nothing.
func (l *Link) Close() error {
	l.once.Do(func() {
		l.err = l.raw.Close()
		close(l.closed)
	})
	return l.err
}

// Abort closes and throws away what was written and not yet sent: nobody
// wants a request of the past to arrive once the network is back.
func (l *Link) Abort() {
	if tcp, ok := l.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = l.Close()
}
