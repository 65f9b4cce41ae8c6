package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"leaderrun/lock"
)

// A race is one round of dialling: the addresses in turn, and the first server
// that answers and serves wins. It does not wait for a silent address before it
// tries the next, and tries a silent one again with a new connection: the
// kernel sends a lost SYN again only after one second, then after two more.
type race[C comparableConn] struct {
	pool     *Pool[C]
	first    int
	attempts []attempt
	results  chan dialled[C]
	spare    C // of a server that does not serve: better than none
}

// An attempt is what the race knows of one address.
type attempt struct {
	started, pending int
	reached          atomic.Bool // TCP is up: a second connection would not help
	err              error       // the latest
}

type dialled[C comparableConn] struct {
	i    int
	conn C
	err  error
}

func (p *Pool[C]) race(ctx context.Context, first int) (C, error) {
	var none C
	r := &race[C]{pool: p, first: first, attempts: make([]attempt, len(p.o.Endpoints)), results: make(chan dialled[C])}
	ctx, cancel := context.WithCancel(ctx)
	c, err := r.run(ctx)
	cancel() // the others
	if s := r.spare; s != none && c == none && !p.final(err) {
		return s, nil
	} else if s != none {
		s.Close(false)
	}
	return c, err
}

func (p *Pool[C]) final(err error) bool { return err != nil && p.o.Final != nil && p.o.Final(err) }

func (r *race[C]) run(ctx context.Context) (C, error) {
	var none C
	pace := time.NewTicker(min(max(r.pool.o.Bound/4, 100*time.Millisecond), 500*time.Millisecond))
	defer pace.Stop()
	r.start(ctx, r.first)
	for {
		select {
		case d := <-r.results:
			if c, err := r.note(d); c != none || r.pool.final(err) {
				return c, err
			}
			if !r.startNext(ctx) && r.idle() {
				return none, r.failure()
			}
		case <-pace.C:
			if !r.startNext(ctx) {
				r.startAgain(ctx)
			}
		case <-ctx.Done():
			return none, r.failure()
		}
	}
}

func (r *race[C]) start(ctx context.Context, i int) {
	a := &r.attempts[i]
	a.started++
	a.pending++
	r.pool.running.Go(func() {
		c, err := r.pool.o.Dial(ctx, r.pool.o.Endpoints[i], func() { a.reached.Store(true) })
		select {
		case r.results <- dialled[C]{i, c, err}:
		case <-ctx.Done():
			if err == nil {
				c.Close(false)
			}
		}
	})
}

// note returns the winner, if this is one.
func (r *race[C]) note(d dialled[C]) (C, error) {
	var none C
	a := &r.attempts[d.i]
	a.pending--
	a.err = d.err
	switch {
	case d.conn == none:
	case d.conn.Serves():
		return d.conn, nil
	case r.spare == none:
		r.spare = d.conn
	default:
		d.conn.Close(false)
	}
	return none, d.err
}

// startNext dials an address that was not tried yet.
func (r *race[C]) startNext(ctx context.Context) bool {
	for n := range r.attempts {
		if i := (r.first + n) % len(r.attempts); r.attempts[i].started == 0 {
			r.start(ctx, i)
			return true
		}
	}
	return false
}

// startAgain dials the address once more that was dialled least often among
// those on which not even TCP answers.
func (r *race[C]) startAgain(ctx context.Context) {
	least := -1
	for i := range r.attempts {
		a := &r.attempts[i]
		if a.pending > 0 && !a.reached.Load() && (least < 0 || a.started < r.attempts[least].started) {
			least = i
		}
	}
	if least >= 0 {
		r.start(ctx, least)
	}
}

func (r *race[C]) idle() bool {
	for i := range r.attempts {
		if r.attempts[i].pending > 0 {
			return false
		}
	}
	return true
}

var errNoAnswer = errors.New("no answer in time")

// failure says why no address served, in one line. A refusal counts as one
// only if nobody might still be willing: an address that is down for now may.
func (r *race[C]) failure() error {
	var kind error
	var whys []string
	for n := range r.attempts {
		i := (r.first + n) % len(r.attempts)
		err := r.attempts[i].err
		if err == nil && r.attempts[i].started == 0 {
			continue
		}
		var f *Fault
		if !errors.As(err, &f) {
			if KindOf(err) != nil {
				return err // of no address: a file that cannot be read
			}
			f = &Fault{Kind: lock.ErrUnavailable, Store: r.pool.o.Store, Endpoint: r.pool.o.Endpoints[i], Why: errNoAnswer}
		}
		if len(r.attempts) == 1 {
			return f
		}
		if kind == nil || errors.Is(f.Kind, lock.ErrUnavailable) {
			kind = f.Kind
		}
		whys = append(whys, f.Place())
	}
	return fmt.Errorf("%w: %s", kind, strings.Join(whys, "; "))
}
