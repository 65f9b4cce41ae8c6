package consul

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

// A pool holds one line at a time, to one agent. What fails or does not answer on
// it ends it for everybody, and the next request goes to the next address. The agent
// on this host may be down while the cluster is well.
type pool struct {
	endpoints []string
	dial      func(ctx context.Context, endpoint string, reached func()) (*line, error)
	bound     time.Duration // of one round of dialling

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	cur   *line
	round *round // under way
	next  int    // where the next round begins
}

// A round is one search for a member that answers; all who need one share it.
type round struct {
	done chan struct{}
	line *line
	err  error
}

func newPool(endpoints []string, bound time.Duration, dial func(context.Context, string, func()) (*line, error)) *pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &pool{
		endpoints: endpoints, dial: dial, bound: max(bound, 500*time.Millisecond),
		ctx: ctx, cancel: cancel, next: rand.IntN(len(endpoints)),
	}
}

// current returns the line, nil if there is none.
func (p *pool) current() *line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur
}

// get returns the line, dialling if there is none.
func (p *pool) get(ctx context.Context) (*line, error) {
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
		return r.line, r.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("%w: no answer in time from consul at %s", lock.ErrUnavailable, strings.Join(p.endpoints, ", "))
		}
		return nil, context.Cause(ctx)
	}
}

func (p *pool) run(r *round, first int) {
	ctx, cancel := context.WithTimeout(p.ctx, p.bound)
	defer cancel()
	r.line, r.err = p.race(ctx, first)
	p.mu.Lock()
	p.round = nil
	if r.line != nil && p.ctx.Err() != nil { // closed meanwhile
		r.line.close()
		r.line, r.err = nil, fmt.Errorf("%w: the store was closed", lock.ErrUnavailable)
	}
	p.cur = r.line
	p.mu.Unlock()
	close(r.done)
}

// drop ends the line. Nothing happens if that was done before.
func (p *pool) drop(l *line) {
	p.mu.Lock()
	if p.cur == l {
		p.cur = nil
		for i, e := range p.endpoints {
			if e == l.endpoint {
				p.next = (i + 1) % len(p.endpoints)
			}
		}
	}
	p.mu.Unlock()
	l.close()
}

// do runs one request, which may be made twice: the agent that was there may have
// gone since the last one, which costs no more than a new connection. Whatever it
// returns, ctx bounds it.
func (p *pool) do(ctx context.Context, f func(context.Context, *line) error) error {
	for try := 1; ; try++ {
		l, err := p.get(ctx)
		if err != nil {
			return err
		}
		err = l.run(ctx, f)
		if err == nil {
			return nil
		}
		v := l.judge(ctx, err)
		if v.drop {
			p.drop(l)
		}
		if !v.drop || try == 2 || ctx.Err() != nil || !errors.Is(v.err, lock.ErrUnavailable) {
			return v.err
		}
	}
}

// close ends the line and waits for what belongs to it.
func (p *pool) close() {
	p.mu.Lock()
	p.cancel()
	l := p.cur
	p.cur = nil
	p.mu.Unlock()
	if l != nil {
		l.close()
	}
	p.running.Wait()
}
