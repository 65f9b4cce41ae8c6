package etcd

import (
	"io"
	"net"
)

// speaksPlain tells whether the server starts HTTP/2 without TLS: one that does
// hangs up on TLS without a word.
func speaksPlain(c net.Conn) bool {
	const (
		preface  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"     // RFC 9113, section 3.4
		settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // an empty frame of type 4
	)
	if _, err := io.WriteString(c, preface+settings); err != nil {
		return false
	}
	var header [len(settings)]byte
	_, err := io.ReadFull(c, header[:])
	return err == nil && header[3] == settings[3]
}
