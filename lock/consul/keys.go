package consul

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
)

// keys names what one election has in Consul. All of it lies below PREFIX/NAME/,
// so that an ACL policy can grant exactly that. Keys have no leading slash.
type keys struct{ base string }

// lock is the key that a leader's session holds. `consul lock PREFIX/NAME` uses the
// same one, so that neither ever runs beside the other, whatever it knows of it.
// It stays when nobody leads: there is nothing to gain from its end.
func (k keys) lock() string { return k.base + "/.lock" }

// check refuses what Consul's HTTP interface takes in no path (unless somebody set
// disable_http_unprintable_char_filter): a watch would never tell of anything.
func (k keys) check() error {
	i := strings.IndexFunc(k.base, func(r rune) bool { return !unicode.IsPrint(r) })
	if i < 0 {
		return nil
	}
	r, _ := utf8.DecodeRuneInString(k.base[i:])
	return fmt.Errorf("%w: consul takes no %U, which is not printable, in a key's path: leave it out of --name and --store", lock.ErrConfig, r)
}

func (k keys) record() string           { return k.base + "/record" }
func (k keys) value(name string) string { return k.base + "/values/" + name }
func (k keys) requests() string         { return k.base + "/requests" }

// queue is above the places of those who wait; see queue.go.
func (k keys) queue() string               { return k.base + "/queue/" }
func (k keys) place(session string) string { return k.queue() + session }

// Flags of a lock key say whose it is. `consul lock` and api.Lock do the same
// and refuse a key that bears ours.
const (
	lockFlags       uint64 = 0x6c656164657272 // "leaderr"
	consulLockFlags uint64 = 0x2ddccbc058a50c18
)

// A lockKey is the lock key as it was seen; the zero value is none.
type lockKey struct {
	session string // that holds it, "" for nobody
	flags   uint64
	index   uint64 // modify index, 0 if there is no key
}

func lockKeyOf(p *api.KVPair) lockKey {
	if p == nil || p.CreateIndex == 0 {
		return lockKey{}
	}
	return lockKey{session: p.Session, flags: p.Flags, index: p.ModifyIndex}
}

// releasedWith returns the clean record that was written in the same transaction as gave
// up the lock key, whose value it also is; false for any other key.
func releasedWith(p *api.KVPair) (record, bool) {
	if p == nil || p.Session != "" || p.Flags != lockFlags {
		return record{}, false
	}
	r, err := lock.DecodeRecord(p.Value)
	return record{Record: r, index: p.ModifyIndex}, err == nil && r.State == lock.Clean
}

// foreign returns what people should know of a key that something else made,
// nil for one of ours. One of `consul lock` that nobody holds may be taken.
// A value put by hand takes our flags away, while the holder stays: what the record
// says is ours all the same.
func (l lockKey) foreign(key string, rec record) error {
	switch {
	case rec.heldBy(l.session), rec.index != 0 && l.session == "":
		return nil
	case l.index == 0 || l.flags == lockFlags || l.flags == consulLockFlags && l.session == "":
		return nil
	case l.flags == consulLockFlags:
		return fmt.Errorf("consul key %s is held by `consul lock` or a program like it (session %s): waiting for its end", key, l.session)
	case l.session != "":
		return fmt.Errorf("consul key %s is held by another program (session %s): waiting until that releases and removes it; if it should not, remove it with: consul kv delete %s", key, l.session, key)
	}
	return fmt.Errorf("%w: consul key %s was made by another program (flags %d): if nothing uses it, remove it with: consul kv delete %s", lock.ErrConfig, key, l.flags, key)
}

// A record is the stored lock.Record with the index that it has.
type record struct {
	lock.Record
	key   string
	index uint64 // modify index, 0 if there is none
}

// decodeRecord takes a pair without indexes for a record that does not exist.
func decodeRecord(key string, p *api.KVPair) (record, error) {
	r := record{key: key}
	if p == nil || p.CreateIndex == 0 {
		return r, nil
	}
	r.index = p.ModifyIndex
	var err error
	if r.Record, err = lock.DecodeRecord(p.Value); err != nil {
		return r, fmt.Errorf("consul key %s: %w: look at it with: consul kv get %s", key, err, key)
	}
	return r, nil
}

// heldBy tells whether the record says that the session's tenure goes on.
func (r record) heldBy(session string) bool {
	return r.State == lock.Held && r.Owner == session && session != ""
}

// heldByOther tells whether the winner `me` has to settle.
func (r record) heldByOther(me string) bool { return r.State == lock.Held && r.Owner != me }

// ticket is what Store.Release needs to give a tenure back. A session's id is no
// secret: whoever may use it may also list it.
type ticket struct {
	Election string `json:"election"`
	Session  string `json:"session"`
}

func newTicket(election, session string) lock.Ticket {
	data, err := json.Marshal(ticket{election, session})
	if err != nil {
		panic(err) // two strings
	}
	return lock.Ticket{Data: data}
}

var sessionID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
})

func (t ticket) check() error {
	if !sessionID().MatchString(t.Session) || t.Election == "" {
		return fmt.Errorf("%w: ticket: %q is no session", lock.ErrConfig, t.Session)
	}
	return nil
}
