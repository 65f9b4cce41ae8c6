package etcd

import (
	"io"
	"net"

	"golang.org/x/net/http2"
)

// speaksPlain tells whether the server starts HTTP/2 without TLS: one that does
// hangs up on TLS without a word.
func speaksPlain(c net.Conn) bool {
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return false
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		return false
	}
	frame, err := f.ReadFrame()
	return err == nil && frame.Header().Type == http2.FrameSettings
}
