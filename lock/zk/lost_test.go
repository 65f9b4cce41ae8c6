package zk

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// A request whose answer was lost is made again, and finds its own work.
func TestLostAnswers(t *testing.T) {
	r := fast(t)
	s := r.open()
	l := s.Locker("e").(*locker)
	c := lock.Candidate{ID: "a", TTL: testTTL, Notify: func(lock.Notice) {}}
	x, g, err := s.grant(t.Context(), l.keys, c.TTL)
	r.must(err)
	k, err := lock.Keep(x, g, c)
	r.must(err)
	a := newCampaign(l, c, x, k, g.Lifetime)
	a.ctx = x.ctx
	r.must(x.enqueue(t.Context()))
	first := x.own.Load()
	r.must(x.enqueue(t.Context()))
	if again := x.own.Load(); again.path != first.path || len(r.queue("e")) != 1 {
		t.Fatalf("in the queue: %v, then %v", first, r.queue("e"))
	}
	// A create that arrives late leaves a twin, of which the first counts.
	r.must(x.do(t.Context(), func(ctx context.Context, c *conn) error {
		_, err := x.create(ctx, c)
		return err
	}))
	r.must(a.look(t.Context()))
	if all := r.queue("e"); len(all) != 1 || all[0] != first.path || a.v.pred != nil {
		t.Fatalf("in the queue: %v, before us %v", all, a.v.pred)
	}

	before := a.v
	rec, err := a.win(t.Context())
	if !rec.exists || err != nil {
		t.Fatalf("won: %+v, %v", rec, err)
	}
	a.v = before
	if again, err := a.win(t.Context()); again.exists || err != nil {
		t.Fatalf("won twice: %+v, %v", again, err)
	}
	if again, err := a.win(t.Context()); again.version != rec.version || err != nil {
		t.Fatalf("found victory %+v, %v; want %+v", again, err, rec)
	}
	e, err := a.won(rec)
	r.must(err)
	r.must(s.giveBack(t.Context(), x.pool, l.keys, tenure{owner: x.owner, known: true, rec: rec, paths: []string{first.path}}))
	r.must(e.Release(t.Context()))
	if rec := r.record("e"); rec.State != lock.Clean {
		t.Errorf("record: %+v", rec)
	}
	a.tasks.Wait()
}

// Connections that are reset at any moment lose answers of every kind: no place
// stays in the queue, no record at held, and nobody leads beside another.
func TestResets(t *testing.T) {
	r := fast(t)
	p := servers.NewProxy(t, r.zoo.Endpoints()[0])
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			select {
			case <-time.After(5*time.Millisecond + rand.N(50*time.Millisecond)):
				p.Reset()
			case <-ctx.Done():
			}
		}
	}()
	leads := make(chan struct{}, 1)
	results := make(chan error)
	for range 3 {
		s := r.open(p.Addr())
		go func() {
			for range 40 {
				results <- r.electOnce(s, leads)
			}
		}()
	}
	left, failed := 0, 0
	for range 3 * 40 {
		err := within(t, "an election", patient, results)
		switch {
		case errors.Is(err, lock.ErrLeftBehind):
			left++
		case errors.Is(err, lock.ErrUnavailable):
			failed++
		case err != nil:
			t.Errorf("%v", err)
		}
	}
	t.Logf("%d of 120 campaigns failed, %d could not leave the queue", failed, left)
	cancel()
	if left == 0 {
		eventually(t, "the queue to be empty", time.Second, func() bool { return len(r.queue("e")) == 0 })
	}
	eventually(t, "the queue to be empty", 3*testTTL, func() bool { return len(r.queue("e")) == 0 })
	if rec := r.record("e"); rec.State != lock.Clean {
		t.Errorf("record: %+v", rec)
	}
}

// electOnce leads once, alone.
func (r *rig) electOnce(s *Store, leads chan struct{}) error {
	ctx, cancel := context.WithTimeout(r.Context(), patient)
	defer cancel()
	l, err := s.Locker("e").Acquire(ctx, lock.Candidate{ID: "x", TTL: testTTL})
	if err != nil {
		return err
	}
	select {
	case leads <- struct{}{}:
	default:
		r.Error("two lead")
		return l.Release(ctx)
	}
	select {
	case <-l.Lost():
		r.Errorf("lost: %v", l.Err())
	case <-time.After(rand.N(10 * time.Millisecond)):
	}
	<-leads
	return l.Release(ctx)
}
