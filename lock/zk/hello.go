package zk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/lock/transport"
)

// A hello is the first word on a connection: a request for a new session, or for
// a session that is there.
//
// It is the one part of the protocol that we speak ourselves. go-zookeeper does
// not tell the time-out that was granted, and after the session's end it asks for
// a new one without a word, over which requests go on as if nothing had happened.
type hello struct {
	seen    *atomic.Int64 // the newest transaction: a server that is behind it hangs up
	timeout time.Duration
	session int64 // 0 for a new one
	secret  [secretLen]byte
}

const secretLen = 16

// A welcome is the answer.
type welcome struct {
	sent    bootclock.Instant // read just before the hello was written
	timeout time.Duration     // granted
	session int64
	secret  [secretLen]byte
	raw     []byte // as it came
}

// The two as they are on the wire, after their length (ConnectRequest and
// ConnectResponse of zookeeper.jute). A flag follows the answer: whether it is
// such a server.
type (
	helloWire struct {
		Protocol  int32
		Zxid      int64
		TimeoutMS int32
		Session   int64
		SecretLen int32
		Secret    [secretLen]byte
		ReadOnly  bool // whether a server without a majority is good enough
	}
	welcomeWire struct {
		Protocol  int32
		TimeoutMS int32
		Session   int64
		SecretLen int32
		Secret    [secretLen]byte
	}
)

var (
	errExpired  = errors.New("session expired")
	errNotZK    = errors.New("does not answer like ZooKeeper: see --store")
	errNoAnswer = errors.New("no answer in time")
)

// say sends the hello and reads the answer. It returns errExpired if the session
// is there no more.
func (h hello) say(ctx context.Context, link *transport.Link) (welcome, error) {
	defer context.AfterFunc(ctx, link.Abort)()
	w := welcome{sent: bootclock.Now()}
	if _, err := link.Write(h.encode()); err != nil {
		return w, err
	}
	var length [4]byte
	if _, err := io.ReadFull(link, length[:]); err != nil {
		return w, err
	}
	var got welcomeWire
	least := binary.Size(got)
	n := binary.BigEndian.Uint32(length[:])
	if n < uint32(least) || n > uint32(least)+16 {
		return w, errNotZK
	}
	w.raw = append(length[:], make([]byte, n)...)
	if _, err := io.ReadFull(link, w.raw[4:]); err != nil {
		return w, err
	}
	if err := binary.Read(bytes.NewReader(w.raw[4:]), binary.BigEndian, &got); err != nil {
		return w, err
	}
	switch {
	case got.Session == 0:
		return w, errExpired
	case got.SecretLen != secretLen || got.TimeoutMS <= 0 || h.session != 0 && got.Session != h.session:
		return w, errNotZK
	}
	w.session, w.secret, w.timeout = got.Session, got.Secret, time.Duration(got.TimeoutMS)*time.Millisecond
	return w, nil
}

func (h hello) encode() []byte {
	ms := max(1, min(h.timeout.Milliseconds(), math.MaxInt32))
	body := helloWire{Zxid: h.seen.Load(), TimeoutMS: int32(ms), Session: h.session, SecretLen: secretLen, Secret: h.secret}
	var b bytes.Buffer
	_ = binary.Write(&b, binary.BigEndian, int32(binary.Size(body))) // never fails
	_ = binary.Write(&b, binary.BigEndian, body)
	return b.Bytes()
}

// explain turns an error of say into one for people.
func (d dialer) explain(ctx context.Context, endpoint string, link *transport.Link, err error) error {
	fault := func(kind error, format string, args ...any) error {
		return transport.NewFault(kind, storeName, endpoint, format, args...)
	}
	switch cause := ctx.Err(); {
	case errors.Is(err, errExpired):
		return err
	case errors.Is(err, errNotZK):
		return fault(lock.ErrConfig, "%w", err)
	case errors.Is(cause, context.DeadlineExceeded):
		return fault(lock.ErrUnavailable, "%w", errNoAnswer)
	case cause != nil:
		return context.Cause(ctx)
	}
	if err := link.Refused(); err != nil {
		return err
	}
	// Asked once only: to a ZooKeeper that has no majority it is a broken packet.
	if link.State() == nil && !link.Heard() && !d.answered.Load() && d.transport.SpeaksTLS(ctx, endpoint) {
		return d.transport.ErrTLS(endpoint)
	}
	return fault(lock.ErrUnavailable, "it hung up before it answered (%w): it has no majority, or too many connections from here (maxClientCnxns)", err)
}
