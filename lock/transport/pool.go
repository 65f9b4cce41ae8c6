package transport

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

// A Conn is a store's client on one Link. It does not reconnect.
type Conn interface {
	Endpoint() string
	Closed() <-chan struct{} // as of the Link
	// Serves tells whether the server could do its work when it was dialled.
	// One that could not is used only if there is no better.
	Serves() bool
	// Judge turns the error of a request into one of lock's kinds.
	Judge(ctx context.Context, err error) Verdict
	// Close fails what is under way; abort throws away what was written and
	// not yet sent. It may be called more than once.
	Close(abort bool)
}

type comparableConn interface {
	comparable
	Conn
}

// A Verdict is what a failed request says of its connection.
type Verdict struct {
	Err error
	// Drop: the connection is not used again, whatever else it might still
	// carry; the next request goes to the next address.
	Drop bool
}

// A Pool holds one connection at a time, to one server. What fails or does not
// answer on it ends it for everybody, and the next request dials the next
// address: a connection that swallows packets must not be tried twice, and TCP
// alone would keep it for a quarter of an hour.
type Pool[C comparableConn] struct {
	o   PoolOptions[C]
	ctx context.Context // until Close

	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	cur   C // zero for none
	round *round[C]
	next  int       // where the next round begins
	after time.Time // when Await goes on
}

// PoolOptions say what a pool dials.
type PoolOptions[C comparableConn] struct {
	Store     string // its name in errors
	Endpoints []string
	Bound     time.Duration // of one round of dialling
	Dial      func(ctx context.Context, endpoint string, reached func()) (C, error)
	// Final tells that no other server would answer differently. May be nil.
	Final func(error) bool
}

// A round is one search for a server that answers; all who need one share it.
type round[C comparableConn] struct {
	done chan struct{}
	conn C
	err  error
}

// NewPool does not dial yet. The first round begins at a random address.
func NewPool[C comparableConn](o PoolOptions[C]) *Pool[C] {
	o.Bound = max(o.Bound, 500*time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool[C]{o: o, ctx: ctx, cancel: cancel, next: rand.IntN(len(o.Endpoints))}
}

// Begin makes the next round begin at that address.
func (p *Pool[C]) Begin(endpoint string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, e := range p.o.Endpoints {
		if e == endpoint {
			p.next = i
		}
	}
}

// Current returns the connection, the zero C if there is none.
func (p *Pool[C]) Current() C {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur
}

// Get returns the connection, dialling if there is none.
func (p *Pool[C]) Get(ctx context.Context) (C, error) {
	p.mu.Lock()
	r, err := p.join()
	p.mu.Unlock()
	return p.wait(ctx, r, err)
}

// look forgets a connection that has ended. p.mu is held here and below.
func (p *Pool[C]) look() {
	var none C
	if p.cur == none {
		return
	}
	select {
	case <-p.cur.Closed():
		p.forget()
	default:
	}
}

func (p *Pool[C]) forget() {
	for i, e := range p.o.Endpoints {
		if e == p.cur.Endpoint() {
			p.next = (i + 1) % len(p.o.Endpoints)
		}
	}
	var none C
	p.cur = none
	p.after = time.Now().Add(lock.Spread(0, comeBack))
}

// join returns the round that is under way, or a new one, or that is over with the
// connection there is.
func (p *Pool[C]) join() (*round[C], error) {
	p.look()
	var none C
	switch {
	case p.cur != none:
		over := &round[C]{done: make(chan struct{}), conn: p.cur}
		close(over.done)
		return over, nil
	case p.ctx.Err() != nil:
		return nil, fmt.Errorf("%w: the store was closed", lock.ErrUnavailable)
	case p.round == nil:
		r := &round[C]{done: make(chan struct{})}
		p.round = r
		// Not bound by whoever asked first: the next one finds it under way.
		first := p.next
		p.running.Go(func() { p.run(r, first) })
	}
	return p.round, nil
}

func (p *Pool[C]) wait(ctx context.Context, r *round[C], err error) (C, error) {
	var none C
	if err != nil {
		return none, err
	}
	select {
	case <-r.done:
		return r.conn, r.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return none, fmt.Errorf("%w: no answer in time from %s at %s", lock.ErrUnavailable, p.o.Store, strings.Join(p.o.Endpoints, ", "))
		}
		return none, context.Cause(ctx)
	}
}

func (p *Pool[C]) run(r *round[C], first int) {
	ctx, cancel := context.WithTimeout(p.ctx, p.o.Bound)
	defer cancel()
	r.conn, r.err = p.race(ctx, first)
	p.mu.Lock()
	p.round = nil
	p.cur = r.conn
	if r.err != nil && !time.Now().Before(p.after) {
		p.after = time.Now().Add(lock.Spread(comeBack/2, comeBack))
	}
	p.mu.Unlock()
	close(r.done)
	var none C
	if c := r.conn; c != none {
		p.running.Go(func() {
			select {
			case <-c.Closed(): // by the server, perhaps
			case <-p.ctx.Done():
			}
			p.Drop(c, false)
		})
	}
}

// Drop ends the connection. Nothing happens if that was done before.
func (p *Pool[C]) Drop(c C, abort bool) {
	p.mu.Lock()
	if p.cur == c {
		p.forget()
	}
	p.mu.Unlock()
	c.Close(abort)
}

// Do runs one request, which may be made twice: the connection that was there
// may have gone since the last one, which costs no more than a new one.
// Whatever it returns, ctx bounds it.
func (p *Pool[C]) Do(ctx context.Context, f func(context.Context, C) error) error {
	for try := 1; ; try++ {
		c, err := p.Get(ctx)
		if err != nil {
			return err
		}
		err = f(ctx, c)
		if err == nil {
			return nil
		}
		v := c.Judge(ctx, err)
		if v.Drop {
			p.Drop(c, true)
		}
		if !v.Drop || try == 2 || ctx.Err() != nil || !errors.Is(v.Err, lock.ErrUnavailable) {
			return v.Err
		}
	}
}

// Close ends all connections and waits for what belongs to them.
func (p *Pool[C]) Close() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.running.Wait()
}
