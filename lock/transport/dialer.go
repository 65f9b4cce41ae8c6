// Package transport makes the one kind of connection that every store on a
// network uses: TCP, with TLS on it as the settings say.
//
// It guarantees that files of certificates are read anew for each connection,
// so that they may be replaced while a candidate waits or leads; that whatever
// goes wrong is an error of one of lock's kinds, in one line that names the
// address and the setting to mend; and that a connection on which nothing comes
// back can be thrown away without waiting for it.
//
// What it does not do: it never dials by itself, retries or keeps connections.
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"leaderrun/lock"
)

// A Dialer connects to the addresses of one store.
type Dialer struct {
	Store      string // its name in errors
	Settings   lock.Settings
	NextProtos []string // for TLS (ALPN)
	// SpeaksPlain asks over a fresh connection whether the server speaks the
	// store's protocol without TLS. It need not close it, and is unblocked when
	// the context of Dial is done.
	SpeaksPlain func(net.Conn) bool
	// Variables are those of the ecosystem that may have turned TLS on, for the
	// hint that it is not wanted.
	Variables string
}

// Check reads the files that Dial will read, so that a wrong path is found at
// once. Errors are of kind lock.ErrConfig.
func (d Dialer) Check() error {
	_, err := d.config("host:1")
	return err
}

// Dial connects; reached, unless nil, is called between TCP and TLS. Errors of
// the connection are a *Fault.
func (d Dialer) Dial(ctx context.Context, endpoint string, reached func()) (*Link, error) {
	conf, err := d.config(endpoint)
	if err != nil {
		return nil, err
	}
	tcp, err := dialTCP(ctx, endpoint)
	if err != nil {
		return nil, d.fault(lock.ErrUnavailable, endpoint, "%w", short(err))
	}
	if reached != nil {
		reached()
	}
	l := &Link{Conn: tcp, raw: tcp, dialer: d, endpoint: endpoint, closed: make(chan struct{})}
	if conf == nil {
		return l, nil
	}
	conn := tls.Client(tcp, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = tcp.Close()
		return nil, d.tlsFault(ctx, endpoint, err)
	}
	state := conn.ConnectionState()
	l.Conn, l.state = conn, &state
	return l, nil
}

// dialTCP also takes the path of a unix socket.
func dialTCP(ctx context.Context, endpoint string) (net.Conn, error) {
	var d net.Dialer
	if strings.HasPrefix(endpoint, "/") {
		return d.DialContext(ctx, "unix", endpoint)
	}
	return d.DialContext(ctx, "tcp", endpoint)
}

// short leaves out what a Fault says anyway.
func short(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// config returns nil without TLS.
func (d Dialer) config(endpoint string) (*tls.Config, error) {
	s := d.Settings
	if !s.TLS {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: --store: %w", lock.ErrConfig, err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, NextProtos: d.NextProtos}
	if s.TLSServerName != "" {
		conf.ServerName = s.TLSServerName
	}
	if s.TLSCA != "" {
		pem, err := os.ReadFile(s.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("%w: --tls-ca: %w", lock.ErrConfig, err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: --tls-ca: no PEM certificate in %s", lock.ErrConfig, s.TLSCA)
		}
	}
	if s.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("%w: --tls-cert, --tls-key: %w", lock.ErrConfig, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
