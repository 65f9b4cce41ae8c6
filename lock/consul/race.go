package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// A race is one round of dialling: the addresses in turn, and the first agent that
// answers and knows a leader wins. It does not wait for a silent address
// before it tries the next, and tries a silent one again with a new connection:
// the kernel sends a lost SYN again only after one second, then after two more.
type race struct {
	pool     *pool
	first    int
	attempts []attempt
	results  chan dialled
	spare    *line // of an agent without a leader: better than none
}

// An attempt is what the race knows of one address.
type attempt struct {
	started, pending int
	reached          atomic.Bool // TCP is up: a second connection would not help
	err              error       // the latest
}

type dialled struct {
	i    int
	line *line
	err  error
}

func (p *pool) race(ctx context.Context, first int) (*line, error) {
	r := &race{pool: p, first: first, attempts: make([]attempt, len(p.endpoints)), results: make(chan dialled)}
	ctx, cancel := context.WithCancel(ctx)
	c, err := r.run(ctx)
	cancel() // the others
	if s := r.spare; s != nil && c == nil {
		return s, nil
	} else if s != nil {
		s.close()
	}
	return c, err
}

func (r *race) run(ctx context.Context) (*line, error) {
	pace := time.NewTicker(min(max(r.pool.bound/4, 100*time.Millisecond), 500*time.Millisecond))
	defer pace.Stop()
	r.start(ctx, r.first)
	for {
		select {
		case d := <-r.results:
			if c := r.note(d); c != nil {
				return c, nil
			}
			if !r.startNext(ctx) && r.idle() {
				return nil, r.failure()
			}
		case <-pace.C:
			if !r.startNext(ctx) {
				r.startAgain(ctx)
			}
		case <-ctx.Done():
			return nil, r.failure()
		}
	}
}

func (r *race) start(ctx context.Context, i int) {
	a := &r.attempts[i]
	a.started++
	a.pending++
	r.pool.running.Go(func() {
		c, err := r.pool.dial(ctx, r.pool.endpoints[i], func() { a.reached.Store(true) })
		select {
		case r.results <- dialled{i, c, err}:
		case <-ctx.Done():
			if c != nil {
				c.close()
			}
		}
	})
}

// note returns the winner, if this is one.
func (r *race) note(d dialled) *line {
	a := &r.attempts[d.i]
	a.pending--
	a.err = d.err
	switch {
	case d.line == nil:
	case d.line.leader:
		return d.line
	case r.spare == nil:
		r.spare = d.line
	default:
		d.line.close()
	}
	return nil
}

// startNext dials an address that was not tried yet.
func (r *race) startNext(ctx context.Context) bool {
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
func (r *race) startAgain(ctx context.Context) {
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

func (r *race) idle() bool {
	for i := range r.attempts {
		if r.attempts[i].pending > 0 {
			return false
		}
	}
	return true
}

// failure says why no address served, in one line. A refusal counts as one
// only if nobody might still be willing: an address that is down for now may.
func (r *race) failure() error {
	var kind error
	var whys []string
	for n := range r.attempts {
		i := (r.first + n) % len(r.attempts)
		err := r.attempts[i].err
		if err == nil && r.attempts[i].started == 0 {
			continue
		}
		var f *transport.Fault
		if !errors.As(err, &f) {
			f = transport.NewFault(lock.ErrUnavailable, storeName, r.pool.endpoints[i], "%w", errNoAnswer)
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
