//go:build linux

package main

import (
	"bufio"
	"io"
	"maps"
	"net"
	"sync"
)

// A gate stands between candidates and their store and counts what they ask for. It
// reads along with what passes and, unless it is told to be silent, holds nothing back;
// still it is one more process on the way, so that times that are compared with a target
// are taken without it.
type gate struct {
	listener      net.Listener
	store, target string

	mu     sync.Mutex
	counts tally
	silent chan struct{} // closed when things pass again; nil: they do
}

// A tally is how many requests of each name there were.
type tally map[string]int

// openGate opens a gate to a store of that name at an address.
func openGate(store, target string) (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gate{listener: l, store: store, target: target, counts: tally{}}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			go g.pass(client)
		}
	}()
	return g, nil
}

// pass lets one connection through until either side closes it.
func (g *gate) pass(client net.Conn) {
	defer client.Close()
	g.hold()
	upstream, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer upstream.Close()
	go func() {
		_, _ = io.Copy(client, held{upstream, g})
		_ = client.Close()
	}()
	// What is read has been written to the store before it is looked at.
	along := io.TeeReader(held{client, g}, upstream)
	if tallies[g.store](bufio.NewReader(along), g.count) != nil {
		_, _ = io.Copy(io.Discard, along) // the connection's end, or nothing that we understand
	}
}

func (g *gate) count(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counts[name]++
}

// silence holds what passes from now on, without a reset, until speak.
func (g *gate) silence() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silent = make(chan struct{})
}

func (g *gate) speak() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.silent != nil {
		close(g.silent)
		g.silent = nil
	}
}

// hold returns when things pass.
func (g *gate) hold() {
	g.mu.Lock()
	silent := g.silent
	g.mu.Unlock()
	if silent != nil {
		<-silent
	}
}

// held is one way of a connection.
type held struct {
	io.Reader
	gate *gate
}

func (h held) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	h.gate.hold()
	return n, err
}

func (g *gate) addr() string { return g.listener.Addr().String() }

// soFar returns what has passed since the gate was opened. There is none where there
// is no server.
func (g *gate) soFar() tally {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.counts)
}

// close lets nobody in any more. Connections end with the candidates.
func (g *gate) close() { _ = g.listener.Close() }

// since is what came on top of an earlier tally, without what is named.
func (t tally) since(before tally, without ...string) tally {
	left := tally{}
	for name, n := range t {
		if n -= before[name]; n > 0 {
			left[name] = n
		}
	}
	for _, name := range without {
		delete(left, name)
	}
	return left
}

func (t tally) sum() (n int) {
	for _, each := range t {
		n += each
	}
	return n
}
