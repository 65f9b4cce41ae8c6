package etcd

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// A leaseID is a lease as etcd numbers them.
type leaseID int64

const noLease leaseID = 0

// keys names what one election has in etcd. All of it lies below
// PREFIX/NAME/, so that a role of etcd can grant exactly that.
type keys struct{ base string }

// queue is the prefix of the candidates' lock keys, ordered by create revision.
func (k keys) queue() string { return k.base + "/queue/" }

// place is the lock key of the candidate with that lease.
func (k keys) place(id leaseID) string { return k.queue() + leaseName(id) }

func (k keys) record() string           { return k.base + "/record" }
func (k keys) value(name string) string { return k.base + "/values/" + name }
func (k keys) requests() string         { return k.base + "/requests" }
func (k keys) inspect() string          { return k.base + "/check/" + rand.Text() }

// leaseName writes a lease as etcdctl does. It is also the owner in a record.
func leaseName(id leaseID) string { return fmt.Sprintf("%016x", uint64(id)) }

// A record is the stored lock.Record with the revision that it has.
type record struct {
	lock.Record
	key  string
	rev  int64 // mod revision, 0 if there is none
	seen int64 // revision of the store at which it was so
}

// decodeRecord takes nil for a record that does not exist.
func decodeRecord(key string, kv *pb.KeyValue, seen int64) (record, error) {
	r := record{key: key, seen: seen}
	if kv == nil {
		return r, nil
	}
	r.rev = kv.ModRevision
	var err error
	if r.Record, err = lock.DecodeRecord(kv.Value); err != nil {
		return r, fmt.Errorf("etcd key %s: %w: look at it with: etcdctl get %s", key, err, key)
	}
	return r, nil
}

// heldByOther tells whether the winner that owns `me` has to settle.
func (r record) heldByOther(me string) bool { return r.State == lock.Held && r.Owner != me }

// ticket is what Store.Release needs to give a tenure back.
type ticket struct {
	Election string `json:"election"`
	Lease    string `json:"lease"`
}

func newTicket(election string, id leaseID) lock.Ticket {
	data, err := json.Marshal(ticket{election, leaseName(id)})
	if err != nil {
		panic(err) // two strings
	}
	return lock.Ticket{Data: data}
}

func (t ticket) leaseID() (leaseID, error) {
	var id uint64
	if n, err := fmt.Sscanf(t.Lease, "%016x", &id); n != 1 || err != nil || leaseName(leaseID(id)) != t.Lease {
		return 0, fmt.Errorf("%w: ticket: %q is no lease", lock.ErrConfig, t.Lease)
	}
	return leaseID(id), nil
}

// A place is a lock key in the queue.
type place struct {
	key    string
	lease  leaseID
	create int64
	ours   bool // else another program made it
}

// placeOf takes the only key of a range, or none.
func placeOf(kvs []*pb.KeyValue) *place {
	if len(kvs) == 0 {
		return nil
	}
	kv := kvs[0]
	var holder lock.Holder
	ours := json.Unmarshal(kv.Value, &holder) == nil // etcdctl lock leaves the value empty
	return &place{key: string(kv.Key), lease: leaseID(kv.Lease), create: kv.CreateRevision, ours: ours}
}

// owner is what a record calls the tenure of this place.
func (p *place) owner() string {
	if p == nil {
		return ""
	}
	return p.key[strings.LastIndexByte(p.key, '/')+1:]
}

// stranger is what people should know of a place that none of us took. Without a
// lease nothing will ever remove it (etcd #6631).
func (p *place) stranger() error {
	switch {
	case p == nil:
		return nil
	case p.lease == noLease:
		return fmt.Errorf("etcd key %s has no lease and blocks this election for ever: if nothing uses it, remove it with: etcdctl del %s", p.key, p.key)
	case !p.ours:
		return fmt.Errorf("etcd key %s is the lock of `etcdctl lock` or a program like it: waiting for its end", p.key)
	}
	return nil
}
