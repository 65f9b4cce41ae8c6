//go:build linux

package main

import (
	"bufio"
	"io"
	"net"
	"sync"
	"time"
)

// A turnstile is a gate for a whole fleet that notes when connections and requests
// came. Shut, it refuses connections, as a machine does on which no store runs.
type turnstile struct {
	store, target, addr string

	mu       sync.Mutex
	listener net.Listener // nil: shut
	conns    map[net.Conn]struct{}
	clients  int
	came     []time.Time // connections
	asked    []time.Time // requests
}

func newTurnstile(store, target string) (*turnstile, error) {
	s := &turnstile{store: store, target: target, addr: "127.0.0.1:0", conns: map[net.Conn]struct{}{}}
	return s, s.unshut()
}

// unshut listens, at the address that it had before.
func (s *turnstile) unshut() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener, s.addr = l, l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // shut
			}
			go s.pass(c)
		}
	}()
	return nil
}

// shut ends all connections with a reset.
func (s *turnstile) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return
	}
	_ = s.listener.Close()
	s.listener = nil
	for c := range s.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

func (s *turnstile) pass(client net.Conn) {
	s.enter()
	defer s.leave(client)
	upstream, err := net.Dial("tcp", s.target)
	if err != nil {
		_ = client.Close()
		return
	}
	defer s.leave(upstream)
	if !s.hold(client, upstream) {
		return
	}
	go func() {
		_, _ = io.Copy(client, upstream)
		_ = client.Close()
	}()
	along := io.TeeReader(client, upstream)
	if tallies[s.store](bufio.NewReader(along), s.ask) != nil {
		_, _ = io.Copy(io.Discard, along)
	}
}

func (s *turnstile) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came = append(s.came, time.Now())
	s.clients++
}

// hold is false if it was shut meanwhile.
func (s *turnstile) hold(client, upstream net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[client], s.conns[upstream] = struct{}{}, struct{}{}
	return s.listener != nil
}

func (s *turnstile) leave(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.LocalAddr().String() == s.addr {
		s.clients--
	}
}

func (s *turnstile) ask(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
}

// inside is how many clients are connected.
func (s *turnstile) inside() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients
}

// between returns how many connections and requests came in each tenth of a second.
func (s *turnstile) between(from, to time.Time) (came, asked []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tenths(s.came, from, to), tenths(s.asked, from, to)
}

func tenths(times []time.Time, from, to time.Time) []float64 {
	const tenth = 100 * time.Millisecond
	n := make([]float64, max(1, int(to.Sub(from)/tenth)))
	for _, t := range times {
		if i := int(t.Sub(from) / tenth); !t.Before(from) && i < len(n) {
			n[i]++
		}
	}
	return n
}
