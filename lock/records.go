package lock

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// SettleTime bounds how long a winner waits for the previous tenure to say
// that its tree is dead, when the store cannot tell that its lease ended by
// expiry. A holder that can still reach the store, or whose guard can, kills
// and says so within milliseconds of a revoked lease.
const SettleTime = 2 * time.Second

// States of a Record.
const (
	Held  = "held"
	Clean = "clean"
)

// A Record stands beside the lock, without a lease, and says how the latest
// tenure stands. The winner writes Held in one transaction conditional on
// owning the lock, before it starts anything; a release writes Clean in one
// transaction with giving the lock up, if the record still bears its owner.
// A winner that finds Held by another settles before it writes its own. No
// record: never held.
type Record struct {
	Token  Token         `json:"token"`
	State  string        `json:"state"`
	TTL    time.Duration `json:"ttl"`   // of that tenure, in nanoseconds: what counts when settling
	Owner  string        `json:"owner"` // names the tenure as its ticket does
	Holder Holder        `json:"holder"`
	Host   *HostRecord   `json:"host_record,omitempty"` // only in stores of one host
	// Handover: whom the tenure that ended clean wants to lead next.
	Handover *Handover `json:"handover,omitempty"`
}

// A Handover names the candidate that is to lead next. Who wins instead of it
// passes the lock on, with one hop less, until it comes to its turn or no hop is
// left: the candidate may have gone meanwhile.
type Handover struct {
	To   string `json:"to"`   // Candidate.ID
	Hops int    `json:"hops"` // how many may pass the lock on
}

// A HostRecord is what a store of this host's processes adds, so that the
// next holder can end what killed processes left.
type HostRecord struct {
	BootID string `json:"boot_id"`
	PIDNS  string `json:"pid_ns"` // the PID namespace in which Child counts
	Child  int    `json:"child,omitempty"`
	Start  uint64 `json:"start,omitempty"`  // of Child: field 22 of /proc/PID/stat, clock ticks since boot
	Cgroup string `json:"cgroup,omitempty"` // the tree's, as the guard names it
}

// DecodeRecord parses a stored record strictly: what is not a record of ours
// is an error of kind ErrConfig, for people to look at, never ignored.
func DecodeRecord(b []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, fmt.Errorf("%w: decode record: %w", ErrConfig, err)
	}
	// Nobody settles for a tenure without a name.
	if r.State != Held && r.State != Clean || r.Token == 0 || r.Owner == "" || r.TTL < 0 {
		return Record{}, fmt.Errorf("%w: decode record: not a record of leaderrun", ErrConfig)
	}
	return r, nil
}

// Encode is the inverse of DecodeRecord.
func (r Record) Encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	return b
}

// A Request is what anyone may ask of the holder of an election. It is
// addressed to one tenure, so that it cannot reach a later one.
type Request struct {
	Token  Token  `json:"token"`  // the tenure that is asked
	Action string `json:"action"` // such as "step-down"
	Arg    string `json:"arg,omitempty"`
}

// Records are small values beside the lock, read by anyone and written only
// by the holder (Lease.Put), and requests, written by anyone and read by the
// holder (Lease.Requests).
type Records interface {
	// Get returns nil without an error when there is no such value.
	Get(ctx context.Context, key string) ([]byte, error)
	// Ask leaves a request for the holder; it replaces an earlier one.
	Ask(ctx context.Context, r Request) error
}

// A ChildRecorder is a Lease whose store wants to know the child, so that the
// next holder on this host can end it (see HostRecord).
type ChildRecorder interface {
	RecordChild(pid int, start uint64) error
}
