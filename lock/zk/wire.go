package zk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"leaderrun/lock/transport"
)

// A wire is what go-zookeeper takes for its connection: a link on which the
// session stands already. The library would reconnect by itself, at its own pace,
// and send on the next connection what was never sent on this one; so it gets to
// see neither the hello nor the link's end. The end it learns from conn.Close,
// which makes every request that waits return at once.
type wire struct {
	net.Conn // the link
	link     *transport.Link

	greeted bool          // the library has said its own hello, which goes nowhere
	replay  *bytes.Reader // the welcome
	frame   frame         // as read so far

	zxid    *atomic.Int64 // the newest transaction that an answer bore
	goodbye atomic.Bool   // to end the session is what we want
	closing atomic.Int64  // the number of the request for that, or none
	ended   chan struct{} // the server has answered it
	bye     chan struct{} // the library has said it, or hung up
	once    sync.Once
}

const (
	opClose = -11     // zookeeper.jute: closeSession
	none    = 1 << 40 // no number of a request
)

func newWire(link *transport.Link, welcome []byte, zxid *atomic.Int64) *wire {
	w := &wire{
		Conn: link, link: link, replay: bytes.NewReader(welcome),
		zxid: zxid, ended: make(chan struct{}), bye: make(chan struct{}),
	}
	w.closing.Store(none)
	return w
}

// Write gets one packet at a time. It never fails: the library would reconnect.
func (w *wire) Write(b []byte) (int, error) {
	if !w.greeted {
		w.greeted = true
		return len(b), nil
	}
	if len(b) >= 12 && int32(binary.BigEndian.Uint32(b[8:])) == opClose {
		defer w.hangUp()
		if !w.goodbye.Load() {
			return len(b), nil
		}
		w.closing.Store(int64(int32(binary.BigEndian.Uint32(b[4:]))))
	}
	if _, err := w.Conn.Write(b); err != nil {
		_ = w.link.Close()
	}
	return len(b), nil
}

// Read returns an error only after the library has said goodbye.
func (w *wire) Read(b []byte) (int, error) {
	if w.replay.Len() > 0 {
		return w.replay.Read(b)
	}
	n, err := w.Conn.Read(b)
	switch ok := w.frame.read(b[:n], w.note); {
	case !ok:
		err = errNotZK // which the library would not survive
	case n > 0 || err == nil:
		return n, nil
	}
	_ = w.link.Close()
	<-w.bye
	if errors.Is(err, io.EOF) {
		return 0, io.EOF
	}
	return 0, err
}

// Close is the library's.
func (w *wire) Close() error {
	w.hangUp()
	return w.link.Close()
}

func (w *wire) hangUp() { w.once.Do(func() { close(w.bye) }) }

// note sees the head of every packet.
func (w *wire) note(xid int32, zxid int64) {
	if xid < 0 {
		return // a ping or an event
	}
	if zxid > w.zxid.Load() {
		w.zxid.Store(zxid)
	}
	if w.closing.CompareAndSwap(int64(xid), none) {
		close(w.ended)
	}
}

// A frame follows the packets in a stream: a length, then the number of the
// request and the transaction, then what is not our matter.
type frame struct {
	head [frameHead]byte
	have int // of head
	rest int // of the packet
}

const (
	frameHead = 4 + 4 + 8
	leastLen  = frameHead // of a packet: every answer has an error code, too
)

// read returns false for what is no packet.
func (f *frame) read(b []byte, note func(xid int32, zxid int64)) bool {
	for len(b) > 0 {
		if f.rest > 0 {
			n := min(f.rest, len(b))
			f.rest -= n
			b = b[n:]
			continue
		}
		n := copy(f.head[f.have:], b)
		f.have += n
		b = b[n:]
		if length := binary.BigEndian.Uint32(f.head[:]); f.have >= 4 && (length < leastLen || length > receiveBuffer) {
			return false
		}
		if f.have < frameHead {
			return true
		}
		note(int32(binary.BigEndian.Uint32(f.head[4:])), int64(binary.BigEndian.Uint64(f.head[8:])))
		f.have = 0
		f.rest = int(binary.BigEndian.Uint32(f.head[:])) + 4 - frameHead
	}
	return true
}
