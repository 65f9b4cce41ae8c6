package etcd

import (
	"context"
	"crypto/tls"
	"io"
	"net"

	"golang.org/x/net/http2"

	"leaderrun/lock"
)

// A server that speaks TLS to a client that does not, or the reverse, hangs up
// without a word, just like one that is being restarted. One more connection
// finds out, so that people get a line they can act on, not a wait without end.

// speaksPlain tells whether the server starts HTTP/2 without TLS.
func speaksPlain(ctx context.Context, endpoint string) bool {
	return probe(ctx, endpoint, func(c net.Conn) bool {
		if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
			return false
		}
		f := http2.NewFramer(c, c)
		if err := f.WriteSettings(); err != nil {
			return false
		}
		frame, err := f.ReadFrame()
		return err == nil && frame.Header().Type == http2.FrameSettings
	})
}

// speaksTLS tells whether the server answers a TLS handshake, whatever it
// thinks of us. Nothing is sent on that connection.
func speaksTLS(ctx context.Context, endpoint string) bool {
	return probe(ctx, endpoint, func(c net.Conn) bool {
		err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
		_, alerted := alertOf(err)
		return err == nil || alerted
	})
}

func probe(ctx context.Context, endpoint string, ask func(net.Conn) bool) bool {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return false
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer func() { _ = c.Close() }()
	return ask(c)
}

func errTLS(endpoint string) error {
	return fault(lock.ErrConfig, endpoint, "it speaks TLS: add --tls or --tls-ca FILE")
}
