package zk

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
)

// keys names the nodes of one election. All of them lie below PREFIX/NAME.
type keys struct{ base string }

func newKeys(prefix, election string) keys { return keys{prefix + "/" + escape(election)} }

// queue holds the candidates' nodes, ordered by the number at their end.
func (k keys) queue() string { return k.base + "/queue" }

func (k keys) record() string           { return k.base + "/record" }
func (k keys) values() string           { return k.base + "/values" }
func (k keys) value(name string) string { return k.values() + "/" + escape(name) }
func (k keys) requests() string         { return k.base + "/requests" }

// own tells whether a child of the election's node is one of ours.
func (k keys) own(child string) bool {
	return child == "queue" || child == "record" || child == "values" || child == "requests"
}

// escape makes one part of a path of any name, each of another: what ZooKeeper
// does not allow is written as in a URL.
func escape(name string) string {
	if name == "." || name == ".." {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	var b strings.Builder
	for _, r := range name {
		if r != '%' && r != '/' && !forbidden(r) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// forbidden tells of the characters that ZooKeeper has in no path. It looks at
// UTF-16, so that what needs two units is among them (PathUtils.validatePath).
func forbidden(r rune) bool {
	return r <= 0x1f || 0x7f <= r && r <= 0x9f || 0xd800 <= r && r <= 0xf8ff || r >= 0xfff0
}

// An owner is the random part of a node's name, by which its maker finds it even
// if the answer to its creation was lost. It names the tenure in records and
// tickets.
func newOwner() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

var ownerForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-f]{16}$`)
})

func isOwner(s string) bool { return ownerForm().MatchString(s) }

// nodeName is what ZooKeeper puts the number after. The part before the number is
// that of the best-known lock recipes (Curator, go-zookeeper), which then take our
// nodes for their likes and queue behind them.
func nodeName(owner string) string { return owner + "-lock-" }

// A place is a node in the queue.
type place struct {
	path  string
	owner string // empty if it is none of ours
	seq   int32
	// ordered: whoever made it takes its turn by the number. Else it is in the
	// way wherever it stands.
	ordered bool
}

var placeForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(.*)lock-(-[0-9]{9,10}|[0-9]{10})$`)
})

func parsePlace(dir, name string) place {
	p := place{path: dir + "/" + name}
	m := placeForm().FindStringSubmatch(name)
	if m == nil {
		return p
	}
	// A signed number of 32 bits that begins anew from below when it has come to
	// its end (ZooKeeper's "%010d" of the parent's cversion).
	n, err := strconv.ParseInt(m[2], 10, 32)
	if err != nil {
		return p
	}
	p.seq, p.ordered = int32(n), true
	if owner, ok := strings.CutSuffix(m[1], "-"); ok && isOwner(owner) {
		p.owner = owner
	}
	return p
}

// before compares numbers that may have begun anew in between.
func (p place) before(q place) bool { return p.seq-q.seq < 0 }

// A record is the stored lock.Record with the version that it has.
type record struct {
	lock.Record
	exists  bool
	version int32
}

// decodeRecord takes nil for a record that does not exist.
func decodeRecord(path string, n *node) (record, error) {
	if n == nil {
		return record{}, nil
	}
	r := record{exists: true, version: n.stat.Version}
	var err error
	if r.Record, err = lock.DecodeRecord(n.data); err != nil {
		return r, fmt.Errorf("zookeeper node %s: %w: look at it in zkCli with: get %s", path, err, path)
	}
	return r, nil
}

// write is the operation that puts rec in the place of the record r.
func (r record) write(k keys, rec lock.Record, acl []zk.ACL) op {
	if !r.exists {
		return create(k.record(), rec.Encode(), acl)
	}
	return setData(k.record(), rec.Encode(), r.version)
}

// heldByOther tells whether the winner that owns `me` has to settle.
func (r record) heldByOther(me string) bool { return r.State == lock.Held && r.Owner != me }

// ticket is what Store.Release needs to give a tenure back.
type ticket struct {
	Election string `json:"election"`
	Node     string `json:"node"` // the random part of its name
}

func newTicket(election, owner string) lock.Ticket {
	data, err := json.Marshal(ticket{election, owner})
	if err != nil {
		panic(err) // two strings
	}
	return lock.Ticket{Data: data}
}
