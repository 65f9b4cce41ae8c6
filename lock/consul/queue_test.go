package consul

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

// queue lists whose places there are, the first one first; a dead one is "".
func (r *rig) queue() (sessions []string) {
	r.Helper()
	pairs, _, err := r.admin.KV().List("leaderrun/e/queue/", &api.QueryOptions{RequireConsistent: true})
	r.must(err)
	slices.SortFunc(pairs, func(a, b *api.KVPair) int { return int(a.CreateIndex) - int(b.CreateIndex) })
	for _, p := range pairs {
		sessions = append(sessions, p.Session)
	}
	return sessions
}

// ghost takes a place for a session behind which there is nobody: of a host that is
// frozen or lost.
func (r *rig) ghost() (session string) {
	r.Helper()
	session, _, err := r.admin.Session().CreateNoChecks(&api.SessionEntry{LockDelay: time.Millisecond}, nil)
	r.must(err)
	ok, _, err := r.admin.KV().Acquire(&api.KVPair{Key: "leaderrun/e/queue/" + session, Session: session, Flags: lockFlags}, nil)
	if !ok || err != nil {
		r.Fatal(ok, err)
	}
	return session
}

func TestQueue(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	t.Run("first in, first out", func(t *testing.T) { r.on(t).testFIFO() })
	t.Run("places taken away", func(t *testing.T) { r.on(t).testPlacesTakenAway() })
	t.Run("dead places", func(t *testing.T) { r.on(t).testDeadPlaces() })
	t.Run("ticket", func(t *testing.T) { r.on(t).testTicketOfAPlace() })
	t.Run("clean", func(t *testing.T) { r.on(t).testCleanOnlyAsSeen() })
	t.Run("late and lost", func(t *testing.T) { r.on(t).testLateAndLost() })
}

// Candidates lead in the order in which they came.
func (r *rig) testFIFO() {
	holder := r.lead(r.open(), "a")
	var queue []*run
	var sessions []string
	for _, id := range []string{"b", "c", "d", "e"} {
		a := r.standBy(r.open(), id)
		queue, sessions = append(queue, a), append(sessions, a.session())
	}
	if got := r.queue(); !slices.Equal(got, sessions) {
		r.Errorf("queue %v, want %v", got, sessions)
	}
	for _, next := range queue {
		holder.Release()
		next.Wins(prompt)
		holder = next
	}
	holder.Release()
	if got := r.queue(); len(got) != 0 {
		r.Errorf("left in the queue: %v", got)
	}
}

// Whatever people do to places in the queue, the lock goes from one to the next.
func (r *rig) testPlacesTakenAway() {
	del := func(session string) { r.del("e", "queue/"+session) }
	for name, strike := range map[string]func(queue []*run){
		"first deleted":  func(q []*run) { del(q[0].session()) },
		"second deleted": func(q []*run) { del(q[1].session()) },
		"all deleted": func([]*run) {
			_, err := r.admin.KV().DeleteTree("leaderrun/e/queue/", nil)
			r.must(err)
		},
		"first session destroyed":  func(q []*run) { r.destroy(q[0].session()) },
		"second session destroyed": func(q []*run) { r.destroy(q[1].session()) },
		"released": func(q []*run) {
			id := q[1].session()
			_, _, err := r.admin.KV().Release(&api.KVPair{Key: "leaderrun/e/queue/" + id, Session: id, Flags: lockFlags}, nil)
			r.must(err)
		},
		"written to": func(q []*run) {
			for _, a := range q {
				r.put("e", "queue/"+a.session(), "a note")
			}
		},
		"what is none": func([]*run) {
			r.Cleanup(func() { r.del("e", "queue/x") })
			r.put("e", "queue/x", "a note")
		},
	} {
		holder := r.lead(r.open(), "a")
		var queue []*run
		for _, id := range []string{"b", "c", "d"} {
			queue = append(queue, r.standBy(r.open(), id))
		}
		strike(queue)
		r.handDown(name, holder, queue)
		if got := r.queue(); slices.ContainsFunc(got, func(s string) bool { return s != "" }) {
			r.Errorf("%s: left in the queue: %v", name, got)
		}
	}
}

// A first one that does not come, frozen or cut off, costs the others a look, and
// no more once its session has ended.
func TestFirstDoesNotCome(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{})
	a := r.lead(r.open(), "a")
	ghost := r.ghost()
	b := r.standBy(r.open(), "b")
	c := r.standBy(r.open(), "c")
	began := bootclock.Now()
	a.Release()
	b.Waits(turn / 2) // it is not its turn
	first, second := b, c
	select {
	case <-b.Done:
	case <-c.Done:
		first, second = c, b
	case <-time.After(patient): // the ghost's session has no TTL
		t.Fatal("nobody leads")
	}
	first.Wins(prompt)
	t.Logf("%s leads %v after the release", first.ID, bootclock.Now().Sub(began))
	if got, want := r.queue(), []string{ghost, second.session()}; !slices.Equal(got, want) {
		t.Errorf("queue %v, want %v", got, want)
	}
	r.destroy(ghost)
	d := r.standBy(r.open(), "d") // and second knows by now
	first.Release()
	second.Wins(prompt)
	if got, want := r.queue(), []string{d.session()}; !slices.Equal(got, want) {
		t.Errorf("queue %v, want %v", got, want)
	}
	second.Release()
	d.Wins(prompt)
}

// The same, of a candidate whose packets are held: it comes back and waits for the next turn.
func TestFirstIsCutOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{})
	p := servers.NewProxy(t, r.consul.Endpoints()[0])
	a := r.lead(r.open(), "a")
	b := r.startWith(r.openWith(r.settingsFor(time.Minute, p.Addr())), lock.Candidate{ID: "b", TTL: time.Minute})
	b.Hears(lock.StandingBy, patient)
	c := r.standBy(r.open(), "c")
	p.Hold()
	a.Release()
	c.Wins(patient)
	p.Resume()
	b.Waits(500 * time.Millisecond)
	r.must(c.Lease.Err())
	c.Release()
	b.Wins(prompt)
}

// Sessions that are gone leave places that nobody waits for, and that go with the
// next who queues, many at once.
func (r *rig) testDeadPlaces() {
	a := r.lead(r.open(), "a")
	for range sweep + 10 {
		r.destroy(r.ghost())
	}
	b := r.standBy(r.open(), "b")
	c := r.standBy(r.open(), "c")
	if got, want := r.queue(), []string{b.session(), c.session()}; !slices.Equal(got, want) {
		r.Errorf("queue %v, want %v", got, want)
	}
	a.Release()
	b.Wins(prompt)
	b.Release()
	c.Wins(prompt)
}

// A waiter that was killed is taken out of the queue by its ticket.
func (r *rig) testTicketOfAPlace() {
	a := r.lead(r.open(), "a")
	b := r.standBy(r.open(), "b")
	c := r.standBy(r.open(), "c")
	for range 2 {
		r.must(r.open().Release(r.Context(), b.Ticket()))
		if got, want := r.queue(), []string{c.session()}; !slices.Equal(got, want) {
			r.Errorf("queue %v, want %v", got, want)
		}
	}
	a.Release()
	c.Wins(prompt)
}

// Candidates without the right to a place, or of an older version that knows none,
// and those with one: all of them lead, at once.
func TestWithoutAQueue(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{ACL: true})
	_, token, err := r.consul.NewToken(`
		key "leaderrun/e/.lock" { policy = "write" }
		key "leaderrun/e/record" { policy = "write" }
		session "leaderrun" { policy = "write" }
		node "leaderrun" { policy = "write" }`)
	r.must(err)
	less := r.settings()
	less.ACLTokenFile = r.file("less", token)
	holder := r.lead(r.open(), "holder")
	var waiting []*run
	for i := range 6 {
		id, settings := fmt.Sprint("b", i), r.settings()
		if i%2 == 0 {
			settings = less
		}
		a := r.start(r.openWith(settings), id)
		if i%2 == 0 {
			t.Log(a.Hears(lock.Warning, prompt).Err)
		}
		a.Hears(lock.StandingBy, prompt)
		waiting = append(waiting, a)
	}
	r.must(r.openWith(less).Release(t.Context(), waiting[0].Ticket()))
	r.handDown("some without a place", holder, waiting)
	if got := r.queue(); len(got) != 0 {
		t.Errorf("left in the queue: %v", got)
	}
}

// The folder that Consul's UI makes for the queue is nobody's place.
func TestFolder(t *testing.T) {
	const own = "0b7f2d1e-0000-4000-8000-000000000000"
	k := keys{"leaderrun/e"}
	a := &campaign{l: &locker{keys: k}, x: &session{id: own}}
	a.arrange(api.KVPairs{
		{Key: k.queue(), CreateIndex: 3},
		{Key: k.place(own), Session: own, CreateIndex: 7},
	})
	if a.pred != nil || len(a.dead) > 0 || !a.placed {
		t.Errorf("before us: %+v, dead: %v, placed: %v", a.pred, a.dead, a.placed)
	}
}
