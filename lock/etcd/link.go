package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"leaderrun/lock"
)

// A link is one TCP connection, with TLS on it if so configured, that was
// dialled before gRPC gets it. gRPC reports a bad certificate or a refused
// password's connection as text in a "try again" error and then tries again
// by itself, after a pause that grows to two minutes. So it never dials: it
// is handed one link, and when that is gone the whole connection is.
type link struct {
	net.Conn // what gRPC reads and writes
	tcp      net.Conn
	state    *tls.ConnectionState // nil without TLS

	closed chan struct{}
	once   sync.Once
	err    error
	heard  atomic.Bool // the server has sent something
	alert  atomic.Uint32
}

// dialLink connects; reached is called between TCP and TLS.
func dialLink(ctx context.Context, endpoint string, conf *tls.Config, reached func()) (*link, error) {
	var d net.Dialer
	tcp, err := d.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, fault(lock.ErrUnavailable, endpoint, "%w", short(err))
	}
	reached()
	l := &link{Conn: tcp, tcp: tcp, closed: make(chan struct{})}
	if conf == nil {
		return l, nil
	}
	conn := tls.Client(tcp, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = tcp.Close()
		return nil, tlsFault(ctx, endpoint, err)
	}
	state := conn.ConnectionState()
	l.Conn, l.state = conn, &state
	return l, nil
}

// short leaves out what fault says anyway.
func short(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Read notes an alert of the server: with TLS 1.3 the handshake is over for
// the client before the server has looked at the client's certificate.
func (l *link) Read(b []byte) (int, error) {
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
// came before the end, but gRPC that cannot write does not read.
func (l *link) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	if err != nil && l.state != nil {
		_ = l.tcp.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = l.Read(make([]byte, 1))
	}
	return n, err
}

// alertOf returns the alert that the server sent. Its type in crypto/tls is
// unexported (tls.AlertError is for QUIC), so that its number is all we get.
func alertOf(err error) (tls.AlertError, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return 0, false
	}
	return tls.AlertError(v.Uint()), true
}

// refused returns why the server ended the link, if it said so.
func (l *link) refused(endpoint string) error {
	if alert := l.alert.Load(); alert != 0 {
		return alertFault(endpoint, tls.AlertError(alert))
	}
	return nil
}

// Close closes TCP alone: a goodbye of TLS could block for seconds on a
// connection that takes nothing.
func (l *link) Close() error {
	l.once.Do(func() {
		l.err = l.tcp.Close()
		close(l.closed)
	})
	return l.err
}

// abort closes and throws away what was written and not yet sent: nobody
// wants a request of the past to arrive once the network is back.
func (l *link) abort() {
	if tcp, ok := l.tcp.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = l.Close()
}

// tlsFault says in one line what people have to mend.
func tlsFault(ctx context.Context, endpoint string, err error) error {
	var (
		verify *tls.CertificateVerificationError
		header tls.RecordHeaderError
	)
	alert, alerted := alertOf(err)
	switch {
	case errors.As(err, &verify):
		return fault(lock.ErrDenied, endpoint, "its certificate is not accepted: %w: see --tls-ca and --tls-server-name", verify.Err)
	case alerted:
		return alertFault(endpoint, alert)
	case errors.As(err, &header):
		return errPlain(endpoint)
	case ctx.Err() != nil:
		return fault(lock.ErrUnavailable, endpoint, "no answer to the TLS handshake in time")
	case speaksPlain(ctx, endpoint):
		return errPlain(endpoint)
	}
	return fault(lock.ErrUnavailable, endpoint, "TLS handshake: %w", err)
}

func errPlain(endpoint string) error {
	return fault(lock.ErrConfig, endpoint, "it does not speak TLS: leave out --tls and the --tls-* flags (and ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY)")
}

// Alerts that are about certificates: RFC 8446, section 6.
func alertFault(endpoint string, alert tls.AlertError) error {
	switch {
	case alert >= 42 && alert <= 46, alert == 48, alert == 49, alert == 116:
		return fault(lock.ErrDenied, endpoint, "it refuses our certificate: %w: see --tls-cert and --tls-key", alert)
	case alert == 80: // internal error
		return fault(lock.ErrUnavailable, endpoint, "%w", alert)
	}
	return fault(lock.ErrConfig, endpoint, "TLS: %w", alert)
}
