package consul

import (
	"encoding/json"

	"leaderrun/lock"
	"leaderrun/lock/contract"
)

// A run is one Acquire in the background.
type run struct {
	*rig
	*contract.Campaign
}

func (r *rig) start(s *Store, id string) *run {
	return r.startWith(s, lock.Candidate{ID: id, Host: "test", TTL: testTTL, Grace: testTTL / 10})
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

// session reads the ticket.
func (a *run) session() string {
	var t ticket
	if err := json.Unmarshal(a.Ticket().Data, &t); err != nil {
		a.Fatal(err)
	}
	return t.Session
}
