//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// memorySamples are spread over the minute.
	memorySamples = 4
	// warm passes before the minute begins, so that each has renewed at least once:
	// leaderrun does every 3 s, the others every 3.3 or 7.5 s.
	warm = 8 * time.Second
)

// What candidates do.
const (
	leader  = "leader"
	standby = "standby"
)

// The tables of a minute.
const (
	memoryTable = iota
	cpuTable
	requestsTable
)

// A role is a candidate and what it is doing.
type role struct {
	r    *round
	p    *process
	not  identity // the child, which is not counted
	what string

	cpu  time.Duration // before the minute
	seen tally         // likewise
}

// minutes runs a leader and a standby of every contender at once: memory, processor
// time and requests, unlike time, do not suffer from company. Each process has a copy
// of its binary for itself, for PSS halves what two share, and two hosts share
// nothing. What a supervisor shares with its own guard and sentinel is counted once.
func minutes(ctx context.Context, b *bench, t []*table, contenders []contender) (err error) {
	layOut(t, contenders)
	var roles []*role
	for _, c := range contenders {
		r, err := b.newRound(c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.close()) }()
		pair, err := r.cast(ctx)
		if err != nil {
			return r.explain(err)
		}
		roles = append(roles, pair...)
	}
	if err := pause(ctx, warm); err != nil {
		return err
	}
	for _, x := range roles {
		if err := x.begin(); err != nil {
			return err
		}
	}
	for i := range memorySamples {
		if err := pause(ctx, b.minute/memorySamples); err != nil {
			return err
		}
		for _, x := range roles {
			if i == memorySamples-1 {
				err = x.end(t)
			}
			if err = errors.Join(err, x.sample(t[memoryTable])); err != nil {
				return x.r.explain(err)
			}
		}
	}
	return nil
}

// layOut puts rivals side by side.
func layOut(t []*table, contenders []contender) {
	for _, each := range t {
		each.Rows = nil
	}
	for _, what := range []string{leader, standby} {
		for _, kind := range kinds {
			for _, c := range contenders {
				t[memoryTable].rowNamed(c, what, kind.name)
			}
		}
		for _, c := range contenders {
			t[cpuTable].rowNamed(c, what, "")
			if c.store != "" {
				t[requestsTable].rowNamed(c, what, "")
			}
		}
	}
}

// cast starts a leader and a standby, each from a file of its own.
func (r *round) cast(ctx context.Context) ([]*role, error) {
	r.counts = true
	var bins [2]string
	for i, id := range []string{leader, standby} {
		bins[i] = filepath.Join(r.dir, id+"-"+filepath.Base(r.bin))
		if err := copyFile(r.bin, bins[i]); err != nil {
			return nil, err
		}
	}
	if err := r.lead(ctx, bins[0]); err != nil {
		return nil, err
	}
	if err := r.standBy(ctx, bins[1], 1); err != nil {
		return nil, err
	}
	return []*role{{r: r, p: r.leader, not: r.child, what: leader}, {r: r, p: r.standbys[0], what: standby}}, nil
}

// pids are those of all its processes but the child.
func (x *role) pids() []int {
	pids := []int{x.p.pid()}
	for _, id := range below(x.p.pid()) {
		if id != x.not {
			pids = append(pids, id.pid)
		}
	}
	return pids
}

func (x *role) cpuTime() (sum time.Duration, err error) {
	for _, pid := range x.pids() {
		t, e := cpuTime(pid)
		sum, err = sum+t, errors.Join(err, e)
	}
	return sum, err
}

func (x *role) begin() (err error) {
	x.seen = x.p.gate.soFar()
	x.cpu, err = x.cpuTime()
	return err
}

func (x *role) end(t []*table) error {
	if x.p.gate != nil {
		made := x.p.gate.soFar().since(x.seen)
		row := t[requestsTable].rowNamed(x.r.c, x.what, "")
		row.Samples, row.Remark = []float64{float64(made.sum())}, made.String()
	}
	cpu, err := x.cpuTime()
	t[cpuTable].rowNamed(x.r.c, x.what, "").Samples = []float64{float64(cpu - x.cpu)}
	return err
}

// String names the requests, the most frequent first.
func (t tally) String() string {
	if len(t) == 0 {
		return "nothing"
	}
	names := slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		if t[a] != t[b] {
			return t[b] - t[a]
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", t[name], name)
	}
	return strings.Join(names, ", ")
}
