// Package contract is the one suite that every store passes, against the real
// thing.
//
// What it shows: what package lock promises of Store, Locker and Lease, as far
// as it can be seen from one process: one holder at a time, rising tokens, no
// lock that nobody holds, no dead place in the queue, records and requests
// that reach the tenure they are meant for and no other.
//
// What it does not: what happens when processes are killed or frozen, or when
// the store is; those are tests of the store's own package and of e2e.
package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"leaderrun/lock"
)

// A Suite is a store to be tested.
type Suite struct {
	// Open returns a new connection to one and the same place. Run closes it.
	Open func(t testing.TB) lock.Store
	// TTL of the candidates: the least that the store takes without adjusting
	// it. A test or two waits for a third of it.
	TTL time.Duration
	// Faults take the lock from its holder by hand, by name: "lease revoked",
	// "lock deleted". There must be a holder.
	Faults map[string]func(t testing.TB, election string)
	// Record reads the record as it is stored; false if there is none.
	Record func(t testing.TB, election string) (lock.Record, bool)
	// Prefix of the elections' names, for a place that other tests use too.
	Prefix string
}

// prompt is "at once" on a loaded machine: less than settling would take.
const prompt = 1500 * time.Millisecond

// patient bounds waits whose length is not the matter.
const patient = 20 * time.Second

// Run runs the suite. The tests of one suite run side by side, each in an
// election of its own.
func Run(t *testing.T, s Suite) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Run("contract", func(t *testing.T) {
		for _, test := range []struct {
			name string
			run  func(*place)
		}{
			{"one tenure", oneTenure},
			{"record", record},
			{"try", try},
			{"config", config},
			{"enqueue", enqueue},
			{"names", names},
			{"never two", neverTwo},
			{"standing by", standingBy},
			{"cancelled in the queue", cancelledInQueue},
			{"cancelled at the hand-over", cancelledAtHandOver},
			{"done before it began", cancelledBefore},
			{"renewal", renewal},
			{"taken", taken},
			{"taken from under a queue", takenWithQueue},
			{"settles until clean", settlesUntilClean},
			{"settles for a time", settlesForATime},
			{"ticket of a waiter", ticketOfWaiter},
			{"ticket of a holder", ticketOfHolder},
			{"ticket of a lone holder", ticketOfLoneHolder},
			{"late ticket", lateTicket},
			{"values", values},
			{"values of a tenure", valuesOfATenure},
			{"requests", requests},
			{"elections", elections},
			{"queue", queue},
			{"previous", previous},
			{"renewed in the queue", renewedInQueue},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(newPlace(t, s))
			})
		}
	})
	goleak.VerifyNone(t, before) // tries for a while
}

// A place is one election in the store, as one test sees it.
type place struct {
	*testing.T
	Suite
	election string
	store    lock.Store
}

func newPlace(t *testing.T, s Suite) *place {
	t.Helper()
	name := s.Prefix + strings.ReplaceAll(t.Name()[strings.LastIndex(t.Name(), "/")+1:], "_", "-")
	p := &place{T: t, Suite: s, election: name}
	p.store = p.connect()
	return p
}

// sub runs a part of a test in an election of its own.
func (p *place) sub(name string, run func(*place)) {
	p.Helper()
	p.Run(name, func(t *testing.T) {
		q := *p
		q.T, q.election = t, p.election+"-"+strings.ReplaceAll(name, " ", "-")
		run(&q)
	})
}

// connect opens another connection.
func (p *place) connect() lock.Store {
	p.Helper()
	s := p.Open(p)
	p.Cleanup(func() {
		if err := s.Close(); err != nil {
			p.Errorf("close store: %v", err)
		}
	})
	return s
}

func (p *place) locker() lock.Locker { return p.store.Locker(p.election) }

// within waits for an event.
func within[T any](p *place, what string, limit time.Duration, c <-chan T) (v T) {
	p.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case v = <-c:
	case <-timer.C:
		p.Fatalf("after %v still waiting for %s", limit, what)
	}
	return v
}

func closed[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// must fails the test for an error of something that works.
func (p *place) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *place) holder() lock.Holder {
	p.Helper()
	h, err := p.locker().Holder(p.Context())
	p.must(err)
	return h
}

// holds asserts that a lease is good.
func (p *place) holds(l lock.Lease, id string) {
	p.Helper()
	if closed(l.Lost()) {
		p.Fatalf("%s lost its lease: %v", id, l.Err())
	}
	if h := p.holder(); h.ID != id || h.Token != l.Token() {
		p.Fatalf("holder is %+v, want %s with token %d", h, id, l.Token())
	}
	if err := l.Put(p.Context(), "probe", []byte(id)); err != nil {
		p.Fatalf("%s: put: %v", id, err)
	}
}

func describe(r lock.Record) string {
	return fmt.Sprintf("%s, token %d, ttl %v, owner %q, holder %+v", r.State, r.Token, r.TTL, r.Owner, r.Holder)
}
