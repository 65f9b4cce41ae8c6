package zk

import (
	"io"
	"net"
	"testing"

	"leaderrun/lock/bootclock"
)

// What no server sends, something in between may: it ends the connection, not the
// process and not the lease.
func TestBrokenPackets(t *testing.T) {
	t.Parallel()
	r := fast(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	defer l.Close() //nolint:errcheck // a test
	clients := make(chan net.Conn, 100)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", r.zoo.Endpoints()[0])
			if err != nil {
				t.Error(err)
				return
			}
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				}()
			}
			clients <- client
		}
	}()
	a := r.lead(r.open(l.Addr().String()), "a")
	// The head of an event, of which the library takes the rest of the next packet for one.
	event := "\x00\x00\x00\x20\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00\x04/abc"
	for name, bytes := range map[string]string{
		"too short":  event + "\x00\x00\x00\x04\xff\xff\xff\xff",
		"too long":   "\xff\xff\xff\xff",
		"other text": "HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		client := within(t, "a connection", patient, clients)
		_, err := io.WriteString(client, bytes)
		r.must(err)
		began := bootclock.Now()
		a.Survives(1, testTTL)
		t.Logf("%s: goes on after %v", name, bootclock.Now().Sub(began))
	}
	a.Release()
}
