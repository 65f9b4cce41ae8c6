package transport

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"leaderrun/lock"
)

// A fakeConn answers nothing and can be closed.
type fakeConn struct {
	once   sync.Once
	closed chan struct{}
}

func (c *fakeConn) Endpoint() string                           { return "host:1" }
func (c *fakeConn) Closed() <-chan struct{}                    { return c.closed }
func (c *fakeConn) Serves() bool                               { return true }
func (c *fakeConn) Judge(_ context.Context, err error) Verdict { return Verdict{Err: err} }
func (c *fakeConn) Close(bool)                                 { c.once.Do(func() { close(c.closed) }) }

// A crowd is as many pools of one server, each with two watches.
type crowd struct {
	n       int
	away    atomic.Bool
	mu      sync.Mutex
	conns   []*fakeConn
	dialled []time.Time // with success, since the last reset
	refused int
}

func (s *crowd) dial(context.Context, string, func()) (*fakeConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away.Load() {
		s.refused++
		return nil, NewFault(lock.ErrUnavailable, "store", "host:1", "refused")
	}
	c := &fakeConn{closed: make(chan struct{})}
	s.conns, s.dialled = append(s.conns, c), append(s.dialled, time.Now())
	return c, nil
}

// reset ends all connections in one moment.
func (s *crowd) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close(true)
	}
	s.conns, s.dialled, s.refused = nil, nil, 0
}

func (s *crowd) run(t *testing.T, test func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range s.n {
		p := NewPool(PoolOptions[*fakeConn]{Store: "store", Endpoints: []string{"host:1"}, Dial: s.dial})
		defer p.Close()
		for range 2 {
			all.Go(func() {
				for ctx.Err() == nil {
					if c, err := p.Await(ctx); err == nil {
						select {
						case <-c.Closed():
						case <-ctx.Done():
						}
					} else if !errors.Is(err, context.Canceled) {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	synctest.Wait()
	test()
	cancel()
	all.Wait()
}

// spread asserts that all are connected again, once each and in time, and not many
// of them in the same tenth of a second.
func (s *crowd) spread(t *testing.T, since time.Time) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	tenths := make([]int, 20)
	for _, at := range s.dialled {
		tenths[min(int(at.Sub(since)/(100*time.Millisecond)), len(tenths)-1)]++
	}
	last := slices.MaxFunc(s.dialled, time.Time.Compare)
	if len(s.dialled) != s.n || last.Sub(since) > comeBack {
		t.Errorf("%d of %d came back, the last after %v", len(s.dialled), s.n, last.Sub(since))
	}
	if most := slices.Max(tenths); most > s.n/3 { // a fifth each, by chance
		t.Errorf("%d of %d came back in the same tenth of a second: %v", most, s.n, tenths)
	}
}

// What a server ends in one moment does not come back in one, and all come back soon.
func TestNoStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &crowd{n: 300}
		s.run(t, func() {
			s.reset()
			since := time.Now()
			<-time.After(2 * comeBack)
			s.spread(t, since)

			s.away.Store(true)
			s.reset()
			<-time.After(10 * time.Second)
			s.mu.Lock()
			refused := s.refused
			s.mu.Unlock()
			if refused > s.n*40 {
				t.Errorf("%d tried %d times in ten seconds", s.n, refused)
			}
			s.away.Store(false)
			since = time.Now()
			<-time.After(2 * comeBack)
			s.spread(t, since)
		})
	})
}

// Whoever cannot wait does not.
func TestGetAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &crowd{}
		p := NewPool(PoolOptions[*fakeConn]{Store: "store", Endpoints: []string{"host:1"}, Dial: s.dial})
		defer p.Close()
		began := time.Now()
		for range 100 {
			c, err := p.Get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p.Drop(c, true)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("took %v", took)
		}
	})
}
