package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"leaderrun/lock"
)

// A pool holds one connection at a time, to one member. What fails or does not
// answer on it ends it for everybody, and the next request dials the next
// address: a connection that swallows packets must not be tried twice, and TCP
// alone would keep it for a quarter of an hour.
type pool struct {
	endpoints []string
	dial      func(ctx context.Context, endpoint string, reached func()) (*conn, error)
	bound     time.Duration // of one round of dialling

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	cur   *conn
	round *round // under way
	next  int    // where the next round begins
}

// A round is one search for a member that answers; all who need one share it.
type round struct {
	done chan struct{}
	conn *conn
	err  error
}

func newPool(endpoints []string, bound time.Duration, dial func(context.Context, string, func()) (*conn, error)) *pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &pool{
		endpoints: endpoints, dial: dial, bound: max(bound, 500*time.Millisecond),
		ctx: ctx, cancel: cancel, next: rand.IntN(len(endpoints)),
	}
}

// current returns the connection, nil if there is none.
func (p *pool) current() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur
}

// get returns the connection, dialling if there is none.
func (p *pool) get(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	if c := p.cur; c != nil {
		p.mu.Unlock()
		return c, nil
	}
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		return nil, fmt.Errorf("%w: the store was closed", lock.ErrUnavailable)
	}
	r := p.round
	if r == nil {
		r = &round{done: make(chan struct{})}
		p.round = r
		// Not bound by whoever asked first: the next one finds it under way.
		first := p.next
		p.running.Go(func() { p.run(r, first) })
	}
	p.mu.Unlock()
	select {
	case <-r.done:
		return r.conn, r.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("%w: no answer in time from etcd at %s", lock.ErrUnavailable, strings.Join(p.endpoints, ", "))
		}
		return nil, context.Cause(ctx)
	}
}

func (p *pool) run(r *round, first int) {
	ctx, cancel := context.WithTimeout(p.ctx, p.bound)
	defer cancel()
	r.conn, r.err = p.race(ctx, first)
	p.mu.Lock()
	p.round = nil
	p.cur = r.conn
	p.mu.Unlock()
	close(r.done)
	if c := r.conn; c != nil {
		p.running.Go(func() {
			select {
			case <-c.link.Closed(): // by the server, perhaps
			case <-p.ctx.Done():
			}
			p.drop(c, false)
		})
	}
}

// drop ends the connection. Nothing happens if that was done before.
func (p *pool) drop(c *conn, abort bool) {
	p.mu.Lock()
	if p.cur == c {
		p.cur = nil
		for i, e := range p.endpoints {
			if e == c.endpoint {
				p.next = (i + 1) % len(p.endpoints)
			}
		}
	}
	p.mu.Unlock()
	c.close(abort)
}

// do runs one request, which may be made twice: the connection that was there
// may have gone since the last one, which costs no more than a new one.
// Whatever it returns, ctx bounds it.
func (p *pool) do(ctx context.Context, f func(context.Context, *conn) error) error {
	for try := 1; ; try++ {
		c, err := p.get(ctx)
		if err != nil {
			return err
		}
		err = f(ctx, c)
		if err == nil {
			return nil
		}
		v := c.judge(ctx, err)
		if v.drop {
			p.drop(c, true)
		}
		if !v.drop || try == 2 || ctx.Err() != nil || !errors.Is(v.err, lock.ErrUnavailable) {
			return v.err
		}
	}
}

// close ends all connections and waits for what belongs to them.
func (p *pool) close() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.running.Wait()
}
