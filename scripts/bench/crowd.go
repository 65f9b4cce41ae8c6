//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"leaderrun/lock/bootclock"
)

// crowdSizes are how many stand by. At each so many handovers are measured.
var crowdSizes = []int{1, 10, 30, 100}

const crowdRounds = 3

// longest is a lease so long that leaderrun renews it after half a minute, by when a
// crowd has been measured. Where renewals do fall into a handover they are left out by
// name (see renewals), as far as they have one of their own: those of `consul lock`,
// which has a lease of 15 s and no flag for another, have.
const longest = "600"

// aftermath passes after a handover until its requests are counted: those who were
// woken for nothing are about to go back to sleep.
const aftermath = 500 * time.Millisecond

func crowded(n int) string { return fmt.Sprintf("with %d", n) }

// crowds takes one contender after the other at each size, for two crowds at once
// would be in each other's way. t is of times and of requests.
func crowds(ctx context.Context, b *bench, t []*table, contenders []contender) error {
	t[0].Rows, t[1].Rows = nil, nil // made anew, a size after the other
	for _, n := range crowdSizes {
		for _, c := range contenders {
			row := t[0].rowNamed(c, crowded(n), "")
			if err := b.crowd(ctx, c, n, t); err != nil {
				row.Error = err.Error()
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

// crowd measures a few handovers, at each of which n stand by.
func (b *bench) crowd(ctx context.Context, c contender, n int, t []*table) (err error) {
	r, err := b.newRound(c)
	if err != nil {
		return err
	}
	defer func() { err = r.conclude(err) }()
	r.counts = true
	if err := r.lead(ctx, r.bin); err != nil {
		return err
	}
	for range crowdRounds {
		if err := r.standBy(ctx, r.bin, n); err != nil {
			return err
		}
		took, requests, err := r.next(ctx)
		if err != nil {
			return err
		}
		row := t[0].rowNamed(c, crowded(n), "")
		row.Samples = append(row.Samples, float64(took))
		if c.store != "" {
			row := t[1].rowNamed(c, crowded(n), "")
			row.Samples, row.Remark = append(row.Samples, float64(requests.sum())), requests.String()
		}
	}
	return nil
}

// woken is what one handover asked of the store, without renewals. Standbys look at the
// queue now and then, too. Of those who stay one, what the median one asked is
// therefore taken for what all did: nothing where nobody was woken, and where all were
// what that costs each.
type woken struct {
	old, next, other tally
	others           int
}

func newWoken(old, next tally, others []tally) woken {
	w := woken{old: old, next: next, others: len(others)}
	if len(others) > 0 {
		slices.SortFunc(others, func(a, b tally) int { return a.sum() - b.sum() })
		w.other = others[(len(others)-1)/2]
	}
	return w
}

func (w woken) sum() int { return w.old.sum() + w.next.sum() + w.others*w.other.sum() }

func (w woken) String() string {
	text := fmt.Sprintf("the old leader %v; the next %v", w.old, w.next)
	if w.others > 0 {
		text += fmt.Sprintf("; each of %d others %v", w.others, w.other)
	}
	return text
}

// next lets the leader's child end and the next one lead, and returns how long that
// took and what it asked of the store.
func (r *round) next(ctx context.Context) (took time.Duration, requests woken, err error) {
	before := map[*process]tally{}
	for _, p := range r.candidates() {
		before[p] = p.gate.soFar()
	}
	old := r.leader
	at := bootclock.Now()
	if err := childEnds(r); err != nil {
		return 0, requests, err
	}
	st, err := r.stage.next(ctx, patient)
	if err != nil {
		return 0, requests, err
	}
	if r.child.alive() {
		return 0, requests, errors.New("two children at once")
	}
	if err := errors.Join(r.promote(st), pause(ctx, aftermath)); err != nil {
		return 0, requests, err
	}
	made := func(p *process) tally { return p.gate.soFar().since(before[p], renewals[r.c.store]...) }
	var others []tally
	for _, p := range r.standbys {
		others = append(others, made(p))
	}
	return st.at.Sub(at), newWoken(made(old), made(r.leader), others), nil
}
