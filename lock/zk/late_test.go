package zk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"leaderrun/lock"
)

// A frames is a proxy that can keep a packet for later.
type frames struct {
	target string
	kept   chan []byte

	mu     sync.Mutex
	value  []byte // keep the packet with that
	server net.Conn
}

func (r *rig) frames() (*frames, string) {
	r.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	f := &frames{target: r.zoo.Endpoints()[0], kept: make(chan []byte, 1)}
	var all sync.WaitGroup
	r.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.serve(client) })
		}
	})
	return f, l.Addr().String()
}

func (f *frames) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	f.mu.Lock()
	f.server = server
	f.mu.Unlock()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	defer server.Close()
	for {
		packet := make([]byte, 4)
		if _, err := io.ReadFull(client, packet); err != nil {
			return
		}
		packet = append(packet, make([]byte, binary.BigEndian.Uint32(packet))...)
		if _, err := io.ReadFull(client, packet[4:]); err != nil {
			return
		}
		f.mu.Lock()
		keep := f.value != nil && bytes.Contains(packet, f.value)
		f.mu.Unlock()
		if keep {
			f.kept <- packet
		} else if _, err := server.Write(packet); err != nil {
			return
		}
	}
}

// A Put that was given up writes nothing over what a later one wrote, also if the server
// comes to it late: in the same session, after that.
func TestLatePut(t *testing.T) {
	r := fast(t)
	f, at := r.frames()
	f.value = []byte("too old")
	a := r.lead(r.open(at), "a")
	for key, values := range map[string][]string{
		"none before": {"new"}, "other": {"first", "new"}, "same": {"first", "first"},
	} {
		last := len(values) - 1
		for _, v := range values[:last] {
			r.must(a.Lease.Put(t.Context(), key, []byte(v)))
		}
		if last == 0 { // the node above is to be there, or the late one fails for that
			r.must(a.Lease.Put(t.Context(), "another", nil))
		}
		ctx, giveUp := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Lease.Put(ctx, key, []byte("too old")) }()
		packet := within(t, "the request", patient, f.kept)
		giveUp()
		if err := within(t, "the end of it", patient, done); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: given up: %v", key, err)
		}
		r.must(a.Lease.Put(t.Context(), key, []byte(values[last])))
		f.mu.Lock()
		_, err := f.server.Write(packet)
		f.mu.Unlock()
		r.must(err)
		r.must(a.Lease.Put(t.Context(), "another", nil)) // comes after it, in the same session
		got, err := r.open().Locker("e").Get(t.Context(), key)
		if err != nil || string(got) != values[last] {
			t.Errorf("%s: value %q after the late transaction, %v; want %q", key, got, err, values[last])
		}
	}
	a.Release()
}

// What changed between reading and writing is told, and the next Put goes through.
func TestPutMeanwhile(t *testing.T) {
	r := fast(t)
	f, at := r.frames()
	a := r.lead(r.open(at), "a")
	r.must(a.Lease.Put(t.Context(), "key", []byte("first")))
	f.mu.Lock()
	f.value = []byte("new")
	f.mu.Unlock()
	done := make(chan error)
	go func() { done <- a.Lease.Put(t.Context(), "key", []byte("new")) }()
	packet := within(t, "the request", patient, f.kept)
	_, err := r.admin.Set("/leaderrun/e/values/key", []byte("another"), -1)
	r.must(err)
	f.mu.Lock()
	f.value = nil
	_, err = f.server.Write(packet)
	f.mu.Unlock()
	r.must(err)
	if err := within(t, "the answer", patient, done); !errors.Is(err, lock.ErrUnavailable) || errors.Is(err, lock.ErrLost) {
		t.Errorf("put: %v, want ErrUnavailable", err)
	} else {
		t.Log(err)
	}
	r.must(a.Lease.Put(t.Context(), "key", []byte("new")))
	if got, err := r.open().Locker("e").Get(t.Context(), "key"); err != nil || string(got) != "new" {
		t.Errorf("value %q, %v", got, err)
	}
	a.Release()
}
