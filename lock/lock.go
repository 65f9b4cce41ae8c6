// Package lock says who leads an election, and until when.
//
// What it guarantees: a [Lease] is valid up to [Lease.ValidUntil] and not an
// instant longer than its store keeps others away; that instant is counted
// from before the request that the store answered was sent, on a clock that
// runs on through suspend (see [leaderrun/lock/bootclock]).
//
// What it does not: it starts and stops no process. Whoever holds a Lease
// must have stopped what the lock protects at ValidUntil, by itself, whatever
// becomes of the goroutines here. A lease that somebody revokes by hand is
// over before ValidUntil; Lost then closes as soon as the store says so, and
// the next holder settles first (see [Record]).
package lock

import (
	"context"
	"errors"
	"os"
	"time"

	"leaderrun/lock/bootclock"
)

// Errors that callers test with errors.Is. Stores wrap them.
var (
	// ErrUnavailable: the store cannot be reached or does not answer now;
	// trying again later may work.
	ErrUnavailable = errors.New("store unavailable")
	// ErrDenied: the store, or its certificate, refused our credentials or
	// was refused by us; trying again with the same settings does not work.
	ErrDenied = errors.New("credentials refused")
	// ErrConfig: a setting cannot work with this store.
	ErrConfig = errors.New("bad configuration")
	// ErrHeld: Candidate.Try is set and another candidate leads.
	ErrHeld = errors.New("held by another candidate")
	// ErrLost: the lease or the lock is certainly gone. A Session wraps it
	// only when the store said so, never because of silence.
	ErrLost = errors.New("lock lost")
	// ErrExpired: no renewal was answered before the deadline.
	ErrExpired = errors.New("lease expired without an answered renewal")
	// ErrLeftBehind: a campaign that failed could not leave the queue; the
	// ticket still can.
	ErrLeftBehind = errors.New("still in the queue")
	// ErrReleased: the lease was given back.
	ErrReleased = errors.New("lease released")
)

// A Token is a fencing token: greater than that of every earlier tenure of
// the same election, as long as the store keeps its data. Zero is no token.
type Token uint64

// A Store is one connection to where candidates meet; several elections may
// share it.
type Store interface {
	Locker(election string) Locker
	// Release gives back what the ticket names, from a process that did not
	// acquire it: the record of that tenure goes to clean, the lock and its
	// lease are gone. It never touches a later tenure, and is no error when
	// there is nothing left to give back.
	Release(ctx context.Context, t Ticket) error
	// Elections returns the names of those below the prefix that have been led or
	// are campaigned for, sorted. It makes nothing.
	Elections(ctx context.Context) ([]string, error)
	Close() error
}

// A Locker campaigns for one election.
type Locker interface {
	// Acquire waits until the candidate leads, and returns with the record
	// (see Record) already written. It returns ErrHeld under c.Try;
	// ErrUnavailable, ErrDenied or ErrConfig; or the cause of ctx when that is
	// done while the candidate stands in the queue. Before it returns an error
	// it leaves the queue, within about a second; if it could not, the error
	// also wraps ErrLeftBehind, and the ticket is to be given back.
	Acquire(ctx context.Context, c Candidate) (Lease, error)
	// Holder returns who leads now; the zero Holder when nobody does.
	Holder(ctx context.Context) (Holder, error)
	// Queue returns who stands by, in the order in which they come to lead as far
	// as the store knows one (lock/file: about that order). Token is zero, and Since
	// is since when they stand by. Who leads is not among them.
	Queue(ctx context.Context) ([]Holder, error)
	Records
	Inspector
}

// A Candidate is one campaign of one process.
type Candidate struct {
	ID    string        // for people: host/pid unless the user names it
	Host  string        // for people
	PID   int           // for people: of leaderrun, as its host sees it
	TTL   time.Duration // the lease asked for; what counts is what is granted
	Grace time.Duration // the loss grace that the lease must hold besides its renewals
	// GraceYields: nobody asked for that grace; a lease that was granted for less
	// than TTL shortens it instead of being refused.
	GraceYields bool
	Try         bool // return ErrHeld rather than wait for another holder

	// Expect is called at most once, and only where a store has to be asked for a
	// lease first: Enqueue is to be expected. Nil is allowed.
	Expect func()
	// Enqueue is called once, when the lease exists and before the candidate
	// can hold the lock. What the ticket names can be given back from then
	// on. An error ends the campaign.
	Enqueue func(Ticket) error
	// Notify is told what happens between campaigning and loss. It must not
	// block. Nil is allowed.
	Notify func(Notice)
	// Cgroup names that of the tree to be, for HostRecord; called after Enqueue. Nil
	// is allowed.
	Cgroup func() string
	// Orphans ends whatever a dead tenure on this host left running, and
	// returns once it is dead. Only stores of this host's processes call it,
	// perhaps more than once for a record. Nil is allowed.
	Orphans func(context.Context, Record) error
}

// A Ticket names one tenure, never the election: giving it back late harms
// no successor. It holds no secret.
type Ticket struct {
	Data []byte   // JSON for Store.Release, at most 1 KiB
	File *os.File // a descriptor that the process giving back must have inherited, or nil
}

// A Notice is something that a candidate's log should say.
type Notice struct {
	Kind   NoticeKind
	Holder Holder            // StandingBy: who leads, zero for nobody
	Err    error             // RenewalFailing, Warning
	Left   time.Duration     // RenewalFailing: until the deadline
	Took   time.Duration     // Renewed: until the store had answered
	Until  bootclock.Instant // Renewed: the deadline
	Every  time.Duration     // Renewed: the next attempt is no later
}

// A NoticeKind says what a Notice is about.
type NoticeKind int

const (
	// StandingBy is sent when the candidate is in the queue, and again at each
	// change of the leader.
	StandingBy NoticeKind = iota
	// RenewalFailing is sent when an attempt to renew failed; it is tried again.
	RenewalFailing
	// Renewing is sent when an attempt succeeds after one or more that failed.
	Renewing
	// Renewed is sent at the grant and each attempt that succeeds, also while standing by, where
	// it is the sign that the campaign goes on. Stores without a lease to renew
	// while they wait send it at that pace when they have seen their place.
	Renewed
	// Warning is something people should mend; Err says what and how.
	Warning
)

// A Holder is who leads an election.
type Holder struct {
	ID    string    `json:"id"`
	Host  string    `json:"host"`
	PID   int       `json:"pid,omitempty"` // as its host sees it; 0 if not told
	Token Token     `json:"token"`
	Since time.Time `json:"since"` // wall clock of the holder: for people only
	// TTL is of its lease, as it was granted; only Locker.Holder tells it.
	TTL time.Duration `json:"-"`
}

// A Lease is a lock that is held, for now. It renews itself until it is
// released or lost.
type Lease interface {
	ValidUntil() bootclock.Instant // another may hold the lock from then on; never moves back
	Grace() time.Duration          // how long before ValidUntil the command is told to stop
	Renewed() <-chan struct{}      // receives after ValidUntil moves; for one reader
	Lost() <-chan struct{}         // closed at ValidUntil, or as soon as the loss is known
	Err() error                    // nil until Lost is closed, then why
	Token() Token
	// Put stores a small value beside the lock, conditional in the store
	// itself on this tenure holding the lock; ErrLost if it does not. Once ctx
	// is done, it writes nothing over what a later Put wrote. ErrUnavailable
	// also if the value was changed meanwhile, perhaps by a Put that was given
	// up; the next Put replaces that.
	Put(ctx context.Context, key string, value []byte) error
	// Requests receives what others ask of the holder (Records.Ask).
	Requests() <-chan Request
	// Previous is the record that the winner replaced by its own; the zero Record
	// if there was none or it is not known (an answer was lost).
	Previous() Record
	// HandOver has Release leave h in the clean record; before it, at most once. It
	// may get lost where the release is not smooth.
	HandOver(h Handover)
	// Release gives the lock back; only once what the lock protects has
	// stopped. After a loss it still flips the record to clean. It may be
	// called again after an error.
	Release(ctx context.Context) error
}
