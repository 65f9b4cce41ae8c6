package consul

import (
	"encoding/json"
	"errors"
	"testing"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
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

// handDown lets one after the other lead. Whose session was ended gives up.
func (r *rig) handDown(what string, holder *run, waiting []*run) {
	r.Helper()
	done := whoever(r.T, waiting)
	for range waiting {
		began := bootclock.Now()
		if holder != nil {
			holder.Release()
		}
		holder = within(r.T, what+": the next", prompt, done)
		if errors.Is(holder.Err, lock.ErrUnavailable) {
			holder = nil
			continue
		}
		holder.Wins(prompt)
		r.Logf("%s: %s leads after %v", what, holder.ID, bootclock.Now().Sub(began))
	}
	if holder != nil {
		holder.Release()
	}
}

// whoever tells of each whose campaign has ended.
func whoever(t *testing.T, waiting []*run) <-chan *run {
	t.Helper()
	done := make(chan *run)
	for _, a := range waiting {
		go func() {
			<-a.Done
			select {
			case done <- a:
			case <-t.Context().Done():
			}
		}()
	}
	return done
}
