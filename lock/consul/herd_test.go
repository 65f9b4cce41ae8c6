package consul

import (
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

// A counter stands before Consul and knows what is asked of it.
type counter struct {
	mu    sync.Mutex
	kinds map[string]int
}

var anySession = regexp.MustCompile(`[0-9a-f-]{36}`)

func (c *counter) gate(_ http.ResponseWriter, req *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[anySession.ReplaceAllString(req.URL.Path, "ID")]++
	return true
}

// reset returns what was asked since the last time.
func (c *counter) reset() (total int, kinds map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kinds = c.kinds
	for _, n := range kinds {
		total += n
	}
	c.kinds = map[string]int{}
	return total, kinds
}

func (c *counter) of(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kinds[kind]
}

// A release wakes whoever is next, not all: a hand-over takes as many requests with
// thirty who wait as with two.
func TestNoHerd(t *testing.T) {
	const handOvers, most = 5, 10 // it is 6, and looks in passing
	r := newRig(t, servers.ConsulOptions{})
	c := counter{kinds: map[string]int{}}
	settings := r.settingsFor(time.Minute, r.behind(c.gate)) // no renewal comes between
	for _, standbys := range []int{2, 10, 30} {
		t.Run(fmt.Sprint(standbys), func(t *testing.T) {
			r := r.on(t)
			start := func(id string) *run {
				return r.startWith(r.openWith(settings), lock.Candidate{ID: id, TTL: time.Minute})
			}
			holder := start("holder")
			holder.Wins(patient)
			var waiting []*run
			for i := range standbys + handOvers - 1 {
				a := start(fmt.Sprint("b", i))
				a.Hears(lock.StandingBy, patient)
				waiting = append(waiting, a)
			}
			done := whoever(t, waiting)
			c.reset()
			for i := range handOvers {
				began := bootclock.Now()
				holder.Release()
				holder = within(t, "the next", prompt, done)
				holder.Wins(prompt)
				t.Logf("leads %v after the release was begun", bootclock.Now().Sub(began))
				// Of the new holder, and of whoever is next after it.
				eventually(t, "watches of the lock", patient, func() bool { return c.of("/v1/kv/leaderrun/e/.lock") >= 2*(i+1) })
			}
			n, kinds := c.reset()
			t.Logf("%.1f requests for each hand-over with %d who wait: %v", float64(n)/handOvers, standbys, kinds)
			if n > handOvers*most {
				t.Error("too many")
			}
		})
	}
}

// A candidate that finds the election free takes one request to look and one to lead.
func TestColdStart(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	c := counter{kinds: map[string]int{}}
	host := r.behind(c.gate)
	r.lead(r.open(), "first").Release()
	s := r.openWith(r.settingsFor(time.Minute, host))
	a := r.startWith(s, lock.Candidate{ID: "a", TTL: time.Minute})
	a.Wins(patient)
	a.Release()
	r.must(s.Close())
	n, kinds := c.reset()
	t.Log(kinds)
	// The address, the session, a look, the lock, its watch, the release, the session.
	if n > 7 {
		t.Errorf("%d requests for one election", n)
	}
}
