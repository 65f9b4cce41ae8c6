//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestTallies(t *testing.T) {
	for store, c := range map[string]struct {
		sent string
		want tally
	}{
		etcd: {grpcClient(t), tally{"Lease/LeaseKeepAlive": 2, "KV/Txn": 1}},
		consul: {
			"PUT /v1/session/renew/1-2 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" +
				"GET /v1/kv/a/b?index=3&wait=1s HTTP/1.1\r\nHost: a\r\n\r\n" +
				"PUT /v1/kv/a/b?acquire=1-2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET",
			tally{"PUT session/renew": 1, "GET kv?index": 1, "PUT kv?acquire": 1},
		},
		zookeeper: {zkPacket(0) + zkPacket(1, 14) + zkPacket(2, 11) + zkPacket(3, 11), tally{"connect": 1, "multi": 1, "ping": 2}},
	} {
		got := tally{}
		err := tallies[store](bufio.NewReader(strings.NewReader(c.sent)), func(name string) { got[name]++ })
		if !maps.Equal(got, c.want) || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, want %v (%v)", store, got, c.want, err)
		}
	}
}

// grpcClient sends two messages on one stream, and one on another.
func grpcClient(t *testing.T) string {
	t.Helper()
	var b, head bytes.Buffer
	b.WriteString(http2.ClientPreface)
	frames, encoder := http2.NewFramer(&b, nil), hpack.NewEncoder(&head)
	open := func(stream uint32, method string) error {
		head.Reset()
		for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/etcdserverpb." + method}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		return frames.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
	}
	err := errors.Join(
		frames.WriteSettings(),
		open(1, "Lease/LeaseKeepAlive"), frames.WriteData(1, false, []byte("once")),
		open(3, "KV/Txn"), frames.WriteData(3, true, []byte("a")),
		frames.WriteData(1, false, []byte("again")), frames.WriteData(1, true, nil),
	)
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zkPacket(words ...uint32) string {
	var b []byte
	for _, w := range append(words, 0) {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + string(b)
}

// What a gate does not understand passes all the same.
func TestGatePassesAnything(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close() //nolint:errcheck // of a test
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	for store := range tallies {
		g, err := openGate(store, echo.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer g.close()
		conn, err := net.Dial("tcp", g.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, word := range []string{"srvr", strings.Repeat("?\n", 10_000)} {
			if _, err := io.WriteString(conn, word); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(word))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != word {
				t.Errorf("%s: %d bytes came back otherwise: %v", store, len(word), err)
			}
		}
	}
}
