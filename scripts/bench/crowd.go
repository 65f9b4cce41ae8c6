//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leaderrun/lock/bootclock"
)

// crowdSizes are how many stand by. At each so many handovers are measured.
var crowdSizes = []int{1, 10, 30, 100}

const crowdRounds = 3

// longest is a lease so long that a crowd's renewals do not drown a handover. What
// still comes of them is left out of the count by name (see renewals): `consul lock`
// has a lease of 15 s and no flag for another.
const longest = "600"

func crowded(n int) string { return fmt.Sprintf("%d standbys", n) }

// crowds takes one contender after the other, for two crowds at once would be in each
// other's way. t is of times and of requests.
func crowds(ctx context.Context, b *bench, t []*table, contenders []contender) error {
	for _, each := range t {
		each.Rows = nil
		for _, n := range crowdSizes {
			for _, c := range contenders {
				if each.Unit == nanoseconds || c.store != "" {
					each.rowNamed(c, crowded(n), "")
				}
			}
		}
	}
	for _, c := range contenders {
		if err := b.crowd(ctx, c, t); err != nil {
			t[0].rowNamed(c, crowded(crowdSizes[0]), "").Error = err.Error()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// crowd lets the queue of one contender grow from size to size.
func (b *bench) crowd(ctx context.Context, c contender, t []*table) (err error) {
	r, err := b.newRound(c)
	if err != nil {
		return err
	}
	defer func() { err = r.conclude(err) }()
	var g *gate
	if c.store != "" {
		if g, err = openGate(c.store, b.addr(c.store)); err != nil {
			return err
		}
		r.atEnd(g.close)
		r.addr = func(string) string { return g.addr() }
	}
	if err := r.lead(ctx, r.bin); err != nil {
		return err
	}
	for _, n := range crowdSizes {
		for range crowdRounds {
			if err := r.standBy(ctx, r.bin, n); err != nil {
				return err
			}
			took, requests, err := r.next(ctx, g)
			if err != nil {
				return fmt.Errorf("%s: %w", crowded(n), err)
			}
			row := t[0].rowNamed(c, crowded(n), "")
			row.Samples = append(row.Samples, float64(took))
			if g != nil {
				row := t[1].rowNamed(c, crowded(n), "")
				row.Samples, row.Remark = append(row.Samples, float64(requests.sum())), requests.String()
			}
		}
	}
	return nil
}

// next lets the leader's child end and the next one lead, and returns how long that
// took and what it asked of the store, from the calm before to the calm after it.
func (r *round) next(ctx context.Context, g *gate) (took time.Duration, requests tally, err error) {
	before, err := g.calm(ctx)
	if err != nil {
		return 0, nil, err
	}
	at := bootclock.Now()
	if err := childEnds(r); err != nil {
		return 0, nil, err
	}
	st, err := r.stage.next(ctx, patient)
	if err != nil {
		return 0, nil, err
	}
	if r.child.alive() {
		return 0, nil, errors.New("two children at once")
	}
	if err := r.promote(st); err != nil {
		return 0, nil, err
	}
	after, err := g.calm(ctx)
	return st.at.Sub(at), after.since(before, renewals[r.c.store]...), err
}

// calm waits until nothing but renewals passes, or for a few seconds, and returns what
// has passed since the gate was opened.
func (g *gate) calm(ctx context.Context) (tally, error) {
	last := g.soFar()
	for range 15 {
		if err := pause(ctx, 2*settle); err != nil {
			return nil, err
		}
		now := g.soFar()
		if g == nil || now.since(last, renewals[g.store]...).sum() == 0 {
			return now, nil
		}
		last = now
	}
	return last, nil
}
