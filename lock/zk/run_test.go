package zk

import (
	"encoding/json"
	"errors"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/contract"
)

// A run is one Acquire in the background.
type run struct {
	*rig
	*contract.Campaign
}

func (r *rig) start(s *Store, id string) *run {
	return r.startWith(s, lock.Candidate{ID: id, Host: "test", TTL: testTTL})
}

func (r *rig) startWith(s *Store, c lock.Candidate) *run {
	return &run{r, contract.Start(r.T, s, c)}
}

func (r *rig) lead(s *Store, id string) *run {
	r.Helper()
	a := r.start(s, id)
	a.Wins(patient)
	return a
}

// standBy returns once the candidate has been told who leads.
func (r *rig) standBy(s *Store, id string) *run {
	r.Helper()
	a := r.start(s, id)
	a.Hears(lock.StandingBy, patient)
	return a
}

// takesOver returns the run that leads at last: this one, or, if the ensemble took
// too long to find itself a leader, another try.
func (a *run) takesOver(s *Store) *run {
	a.Helper()
	for tries := 0; ; tries++ {
		within(a.T, a.ID+" to end its campaign", 2*patient, a.Done)
		if a.Err == nil || tries == 5 || !errors.Is(a.Err, lock.ErrUnavailable) {
			a.Wins(patient)
			return a
		}
		a.Logf("%s: %v", a.ID, a.Err)
		a = a.startWith(s, lock.Candidate{ID: a.ID, TTL: 10 * time.Second})
	}
}

// owner reads the ticket.
func (a *run) owner() string {
	var t ticket
	if err := json.Unmarshal(a.Ticket().Data, &t); err != nil {
		a.Fatal(err)
	}
	return t.Node
}
