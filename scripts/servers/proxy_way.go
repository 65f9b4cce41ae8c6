package servers

import (
	"errors"
	"io"
	"net"
	"time"
)

// A way is one of the two directions.
type way struct {
	open  chan struct{} // closed while the proxy forwards
	delay time.Duration
}

// pass waits until the time has come and while the way is held. It is false once
// the proxy is closed.
func (p *Proxy) pass(w *way, due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-p.closed:
			return false
		}
	}
	for {
		p.mu.Lock()
		open := w.open
		p.mu.Unlock()
		if isClosed(open) {
			return !isClosed(p.closed)
		}
		select {
		case <-open: // held again, perhaps: look once more
		case <-p.closed:
			return false
		}
	}
}

// A chunk is what one Read returned, and when it may go on.
type chunk struct {
	data []byte
	err  error
	due  time.Time
}

// read sends what comes from src, until an error, or until done is closed.
func (p *Proxy) read(w *way, src net.Conn, chunks chan<- chunk, done <-chan struct{}) {
	for {
		buf := make([]byte, 16<<10)
		n, err := src.Read(buf)
		p.mu.Lock()
		due := time.Now().Add(w.delay)
		p.mu.Unlock()
		select {
		case chunks <- chunk{buf[:n], err, due}:
		case <-done:
			return
		}
		if err != nil {
			return
		}
	}
}

// copy asks whether it may pass between reading and writing: what it was waiting
// for when the proxy was held must not slip through.
func (p *Proxy) copy(w *way, dst, src net.Conn) {
	chunks, done := make(chan chunk, 16), make(chan struct{})
	defer close(done)
	go p.read(w, src, chunks, done)
	for c := range chunks {
		if !p.pass(w, c.due) {
			return
		}
		if len(c.data) > 0 {
			if _, err := dst.Write(c.data); err != nil {
				c.err = err
			}
		}
		switch {
		case errors.Is(c.err, io.EOF):
			if tcp, ok := dst.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		case c.err != nil:
			// One side is gone without a goodbye: neither hears from the other again.
			_ = src.Close()
			_ = dst.Close()
			return
		}
	}
}
