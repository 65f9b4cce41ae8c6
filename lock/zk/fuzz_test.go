package zk

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// A record is that of the node, or none with an error that names the node.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"token":7,"state":"held","owner":"0123456789abcdef"}`), int32(3))
	f.Add([]byte(nil), int32(0))
	f.Fuzz(func(t *testing.T, data []byte, version int32) {
		r, err := decodeRecord("/q/record", &node{data, zk.Stat{Version: version}})
		if !r.exists || r.version != version {
			t.Errorf("%q: %+v", data, r)
		}
		switch {
		case err != nil && (!errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), "/q/record") || r.State != "" || r.Owner != ""):
			t.Errorf("%q: %+v, %v", data, r, err)
		case err == nil && r.State == lock.Held && !r.heldByOther("me") && r.Owner != "me":
			t.Errorf("%q: nobody settles for %+v", data, r)
		}
	})
}

// Of any two places in the queue at least one waits for the other, and ours are
// known by their owner alone.
func FuzzPlaces(f *testing.F) {
	const owner = "0123456789abcdef"
	f.Add(owner+"-lock-0000000007", "lock-0000000008")
	f.Add(owner+"-lock--2147483648", owner+"-lock-0000000000")
	f.Add("_c_x-lock-9999999999", owner+"-lock-2147483647")
	f.Add("", "\n-lock-0000000001")
	f.Fuzz(func(t *testing.T, a, b string) {
		p, q := parsePlace("/q", a), parsePlace("/q", b)
		for _, x := range []place{p, q} {
			if x.owner != "" && (!isOwner(x.owner) || !x.ordered || !strings.HasPrefix(x.path, "/q/"+nodeName(x.owner))) {
				t.Errorf("%q, %q: %+v", a, b, x)
			}
		}
		if p.ordered && q.ordered && p.seq != q.seq && !p.before(q) && !q.before(p) {
			t.Errorf("%q, %q: nobody waits", a, b)
		}
	})
}

// Two names never are one node, and every name is a node's.
func FuzzEscape(f *testing.F) {
	f.Add("a%2Fb", "a/b")
	f.Add("..", "%2E%2E")
	f.Add("\u0085🙂", "\uf8ff")
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")
		x, y := escape(a), escape(b)
		if x == y && a != b {
			t.Errorf("%q and %q are both %q", a, b, x)
		}
		if a != "" && checkPrefix(lock.URL{Path: "/" + x}) != nil || strings.Contains(x, "/") {
			t.Errorf("%q becomes %q, which is no node", a, x)
		}
		if name, err := url.PathUnescape(x); name != a || err != nil {
			t.Errorf("%q becomes %q, which is listed as %q, %v", a, x, name, err)
		}
	})
}

// A ticket names one node, or nothing is done.
func FuzzTicket(f *testing.F) {
	f.Add([]byte(`{"election":"job","node":"0123456789abcdef"}`))
	f.Add([]byte(`{"election":"job","node":"0123456789abcdef\n"}`))
	f.Add([]byte("null"))
	s, err := open(lock.Settings{URL: lock.URL{Hosts: []string{"127.0.0.1:1"}, Path: "/leaderrun"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		var named ticket
		if json.Unmarshal(data, &named) == nil && isOwner(named.Node) {
			if again := newTicket(named.Election, named.Node); json.Unmarshal(again.Data, &named) != nil {
				t.Errorf("%q, again %q", data, again.Data)
			}
			return // it would connect
		}
		if err := s.Release(t.Context(), lock.Ticket{Data: data}); !errors.Is(err, lock.ErrConfig) {
			t.Errorf("%q: %v", data, err)
		}
	})
}

// However the stream is cut, the packets in it are the same, and it ends where it is
// none.
func FuzzFrame(f *testing.F) {
	packet := func(length uint32, xid int32, zxid int64) []byte {
		b := binary.BigEndian.AppendUint32(nil, length)
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, uint32(xid)), uint64(zxid))
		return append(b, make([]byte, max(4, min(int64(length), 64)-12))...)
	}
	f.Add(append(packet(16, 1, 2), packet(20, -1, 3)...), uint8(1))
	f.Add(append(packet(16, 1, 2), packet(15, 3, 4)...), uint8(3))
	f.Add(packet(1<<31, 1, 2), uint8(7))
	type seen struct {
		xid  int32
		zxid int64
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		read := func(size int) (packets []seen, ok bool) {
			var fr frame
			for rest := b; len(rest) > 0; {
				n := min(size, len(rest))
				if !fr.read(rest[:n], func(xid int32, zxid int64) { packets = append(packets, seen{xid, zxid}) }) {
					return packets, false
				}
				rest = rest[n:]
			}
			return packets, true
		}
		whole, ok := read(len(b) + 1)
		parts, same := read(int(cut) + 1)
		if ok != same || !reflect.DeepEqual(whole, parts) {
			t.Errorf("%q: %v, %v; in pieces of %d: %v, %v", b, whole, ok, cut+1, parts, same)
		}
	})
}

// Of an answer that is no welcome comes an error and no session; of one that is, the
// session that was asked for, with a time that has an end.
func FuzzHello(f *testing.F) {
	welcomed := func(session int64, ms, secret int32) []byte {
		var b bytes.Buffer
		_ = binary.Write(&b, binary.BigEndian, int32(37))
		_ = binary.Write(&b, binary.BigEndian, welcomeWire{TimeoutMS: ms, Session: session, SecretLen: secret})
		return append(b.Bytes(), 0)
	}
	f.Add(welcomed(7, 4000, secretLen), int64(0))
	f.Add(welcomed(7, 4000, secretLen), int64(8))
	f.Add(welcomed(0, 4000, secretLen), int64(8))
	f.Add(welcomed(7, -1, secretLen), int64(7))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), int64(0))
	f.Add([]byte("\xff\xff\xff\xff"), int64(0))
	f.Fuzz(func(t *testing.T, answer []byte, session int64) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = io.ReadFull(theirs, make([]byte, 4+binary.Size(helloWire{})))
			_, _ = theirs.Write(answer)
			_ = theirs.Close()
		}()
		h := hello{seen: new(atomic.Int64), timeout: time.Second, session: session}
		w, err := h.say(t.Context(), &transport.Link{Conn: ours})
		_ = ours.Close()
		switch {
		case err != nil && (w.session != 0 || w.timeout != 0):
			t.Errorf("%q: %+v, %v", answer, w, err)
		case err == nil && (w.session == 0 || session != 0 && w.session != session || w.timeout <= 0 || !bytes.HasPrefix(answer, w.raw)):
			t.Errorf("%q: %+v", answer, w)
		}
	})
}
