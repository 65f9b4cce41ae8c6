package consul

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

// Candidates campaign as the supervisor does, while servers are killed, frozen and
// cut off and sessions and keys taken away: nobody leads before the lease of whoever
// led before is over; and when all is well again they lead one after the other.
// LEADERRUN_TEST_CHAOS=10m goes on for that long.
func TestChaos(t *testing.T) {
	t.Parallel()
	length := 20 * time.Second
	if s := os.Getenv("LEADERRUN_TEST_CHAOS"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	r := newRig(t, servers.ConsulOptions{Nodes: 3, Hosts: true})
	ctx, cancel := context.WithCancel(t.Context())
	w := &witness{T: t, led: map[string]lock.Lease{}}
	var all sync.WaitGroup
	defer func() {
		cancel()
		all.Wait()
	}()
	for i := range 4 {
		s := r.open(r.consul.Endpoints()...)
		all.Go(func() { w.campaign(ctx, s.Locker("e"), fmt.Sprint("c", i)) })
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	troubled, over := context.WithTimeout(ctx, length)
	defer over()
	r.trouble(troubled, rand.New(rand.NewPCG(seed, 0)))
	tenures, lost := w.count()
	t.Logf("%d tenures, %d of them lost", tenures, lost)
	// How many the trouble let lead was chance. Now nothing is in anybody's way.
	enough := max(5, tenures+2)
	eventually(t, fmt.Sprintf("tenure %d", enough), time.Minute, func() bool {
		tenures, _ = w.count()
		return tenures >= enough
	})
}

// A witness knows all who lead.
type witness struct {
	*testing.T
	mu            sync.Mutex
	led           map[string]lock.Lease
	token         lock.Token
	tenures, lost int
}

func (w *witness) campaign(ctx context.Context, locker lock.Locker, id string) {
	pause := lock.NewPause()
	for ctx.Err() == nil {
		l, err := locker.Acquire(ctx, lock.Candidate{ID: id, TTL: testTTL, Grace: testTTL / 10})
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, lock.ErrUnavailable) {
				w.Errorf("%s: %v", id, err)
			}
			pause.Wait(ctx)
			continue
		}
		pause = lock.NewPause()
		w.begin(id, l)
		select {
		case <-l.Lost():
		case <-time.After(rand.N(2 * time.Second)):
		}
		w.end(id, l)
		release, done := context.WithTimeout(context.Background(), 2*time.Second)
		_ = l.Release(release)
		done()
	}
}

func (w *witness) begin(id string, l lock.Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for other, old := range w.led {
		select {
		case <-old.Lost():
		default:
			if left := old.ValidUntil().Until(); left > 0 {
				w.Errorf("%s leads with token %d, %s with token %d for another %v", id, l.Token(), other, old.Token(), left)
			}
		}
	}
	if l.Token() <= w.token {
		w.Errorf("%s has token %d after %d", id, l.Token(), w.token)
	}
	if bootclock.Now() < l.ValidUntil() {
		w.led[id] = l
	}
	w.token = l.Token()
	w.tenures++
}

func (w *witness) end(id string, l lock.Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.led, id)
	if l.Err() != nil {
		w.lost++
	}
}

func (w *witness) count() (tenures, lost int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tenures, w.lost
}

// trouble makes one thing after the other, and puts each right again.
func (r *rig) trouble(ctx context.Context, random *rand.Rand) {
	c := r.consul
	for ctx.Err() == nil {
		node := random.IntN(3)
		if leader, err := c.Leader(); err == nil && random.IntN(2) == 0 {
			node = leader
		}
		lasts := time.Duration(random.Int64N(int64(2 * testTTL)))
		what := random.IntN(7)
		begin, end := func() error { return nil }, func() error { return nil }
		switch what {
		case 0:
			begin, end = func() error { return c.Kill(node) }, func() error { return c.Restart(node) }
		case 1:
			begin, end = func() error { return c.Pause(node) }, func() error { return c.Resume(node) }
		case 2:
			begin, end = func() error { return c.Isolate(node) }, func() error { return c.Rejoin(node) }
		case 3:
			begin, end = func() error { return c.IsolateOut(node) }, func() error { return c.Rejoin(node) }
		case 4: // by hand, of one who can hear of it
			lasts = 100 * time.Millisecond
			begin = func() error {
				hand, done := context.WithTimeout(ctx, time.Second)
				defer done()
				p, _, err := r.admin.KV().Get("leaderrun/e/.lock", (&api.QueryOptions{}).WithContext(hand))
				if err == nil && p != nil && p.Session != "" {
					_, _ = r.admin.Session().Destroy(p.Session, (&api.WriteOptions{}).WithContext(hand))
				}
				return nil
			}
		case 5:
			lasts = 100 * time.Millisecond
			begin = func() error {
				hand, done := context.WithTimeout(ctx, time.Second)
				defer done()
				_, _ = r.admin.KV().Delete("leaderrun/e/.lock", (&api.WriteOptions{}).WithContext(hand))
				return nil
			}
		case 6:
			lasts = 100 * time.Millisecond
			begin = func() error {
				hand, done := context.WithTimeout(ctx, time.Second)
				defer done()
				_, _ = r.admin.KV().DeleteTree("leaderrun/e/queue/", (&api.WriteOptions{}).WithContext(hand))
				return nil
			}
		}
		r.Logf("%d at node %d for %v", what, node, lasts)
		r.must(begin())
		wait(ctx, lasts)
		r.must(end())
		wait(ctx, time.Second)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
