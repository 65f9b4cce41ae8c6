package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"

	"leaderrun/lock"
)

// A Fault is an error of one of lock's kinds that names the address.
type Fault struct {
	Kind     error // such as lock.ErrUnavailable
	Store    string
	Endpoint string
	Why      error
}

// NewFault returns a Fault whose reason is made as by fmt.Errorf.
func NewFault(kind error, store, endpoint, format string, args ...any) *Fault {
	return &Fault{kind, store, endpoint, fmt.Errorf(format, args...)}
}

func (f *Fault) Error() string   { return f.Kind.Error() + ": " + f.Place() }
func (f *Fault) Unwrap() []error { return []error{f.Kind, f.Why} }

// Place is the text without the kind, for a list of several.
func (f *Fault) Place() string { return f.Store + " at " + f.Endpoint + ": " + f.Why.Error() }

// KindOf returns lock's kind of the error, nil for none.
func KindOf(err error) error {
	for _, kind := range []error{lock.ErrLost, lock.ErrDenied, lock.ErrConfig, lock.ErrHeld, lock.ErrUnavailable} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

func (d Dialer) fault(kind error, endpoint, format string, args ...any) error {
	return NewFault(kind, d.Store, endpoint, format, args...)
}

// tlsFault says in one line what people have to mend.
func (d Dialer) tlsFault(ctx context.Context, endpoint string, err error) error {
	var (
		verify *tls.CertificateVerificationError
		header tls.RecordHeaderError
	)
	alert, alerted := alertOf(err)
	switch {
	case errors.As(err, &verify):
		return d.fault(lock.ErrDenied, endpoint, "its certificate is not accepted: %w: see --tls-ca and --tls-server-name", verify.Err)
	case alerted:
		return d.alertFault(endpoint, alert)
	case errors.As(err, &header):
		return d.errPlain(endpoint)
	case ctx.Err() != nil:
		return d.fault(lock.ErrUnavailable, endpoint, "no answer to the TLS handshake in time")
	case d.SpeaksPlain != nil && probe(ctx, endpoint, d.SpeaksPlain):
		return d.errPlain(endpoint)
	}
	return d.fault(lock.ErrUnavailable, endpoint, "TLS handshake: %w", err)
}

func (d Dialer) errPlain(endpoint string) error {
	variables := ""
	if d.Variables != "" {
		variables = " (and " + d.Variables + ")"
	}
	return d.fault(lock.ErrConfig, endpoint, "it does not speak TLS: leave out --tls and the --tls-* flags%s", variables)
}

// ErrTLS is about a server that SpeaksTLS when we do not.
func (d Dialer) ErrTLS(endpoint string) error {
	return d.fault(lock.ErrConfig, endpoint, "it speaks TLS: add --tls or --tls-ca FILE")
}

// alertFault: the alerts that are about certificates are in RFC 8446, section 6.
func (d Dialer) alertFault(endpoint string, alert tls.AlertError) error {
	switch {
	case alert >= 42 && alert <= 46, alert == 48, alert == 49, alert == 116:
		return d.fault(lock.ErrDenied, endpoint, "it refuses our certificate: %w: see --tls-cert and --tls-key", alert)
	case alert == 80: // internal error
		return d.fault(lock.ErrUnavailable, endpoint, "%w", alert)
	}
	return d.fault(lock.ErrConfig, endpoint, "TLS: %w", alert)
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

// SpeaksTLS tells whether the server answers a TLS handshake, whatever it
// thinks of us. Nothing is sent on that connection. A server that speaks TLS to
// a client that does not hangs up without a word, just like one that is being
// restarted; one more connection finds out, so that people get a line they can
// act on, not a wait without end.
func (d Dialer) SpeaksTLS(ctx context.Context, endpoint string) bool {
	return probe(ctx, endpoint, func(c net.Conn) bool {
		err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
		_, alerted := alertOf(err)
		return err == nil || alerted
	})
}

func probe(ctx context.Context, endpoint string, ask func(net.Conn) bool) bool {
	c, err := dialTCP(ctx, endpoint)
	if err != nil {
		return false
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer func() { _ = c.Close() }()
	return ask(c)
}
