//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// A sampler takes one figure, 0 if there is none to take. The remark is what else
// there is to say.
type sampler func(contender) (value float64, remark string, err error)

// inTurns takes one sample of each contender, then the next of each; the first
// of each warms up and counts for nothing. A contender that fails is left out
// from then on, with the error in its row. Those that are measured once come last and
// all at once: they wait for seconds, in which nothing runs.
func inTurns(ctx context.Context, rounds int, t *table, contenders []contender, sample sampler) error {
	for i := range rounds + 1 {
		for _, c := range contenders {
			if row := t.row(c); row.Error == "" && c.once == 0 {
				row.take(sample, i > 0)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	var all sync.WaitGroup
	for _, c := range contenders {
		if row := t.row(c); c.once > 0 {
			all.Go(func() { row.take(sample, true) })
		}
	}
	all.Wait()
	return ctx.Err()
}

// take adds a sample to the row, if it counts.
func (r *row) take(sample sampler, counts bool) {
	value, remark, err := sample(r.c)
	switch {
	case err != nil:
		r.Error = err.Error()
		return
	case remark != "":
		r.Remark = remark
	}
	if counts && value > 0 {
		r.Samples = append(r.Samples, value)
	}
}

// coldRuns keeps each contender's election, as a job of cron(8) does.
func coldRuns(ctx context.Context, b *bench, t []*table, contenders []contender) (err error) {
	rounds := map[string]*round{}
	for _, c := range contenders {
		r, err := b.newRound(c)
		if err != nil {
			t[0].row(c).Error = err.Error()
			continue
		}
		rounds[c.key] = r
		defer func() { err = errors.Join(err, r.close()) }()
	}
	return inTurns(ctx, b.rounds, t[0], contenders, func(c contender) (float64, string, error) {
		r := rounds[c.key]
		took, err := whole(ctx, c.argv(r, r.bin, b.addr(c.store), "cold", "/bin/true"), r.dir)
		return float64(took), "", err
	})
}

func childAlone(ctx context.Context, b *bench, t []*table, contenders []contender) error {
	return inTurns(ctx, b.rounds, t[0], contenders, func(contender) (float64, string, error) {
		took, err := b.alone(ctx)
		return float64(took), "", err
	})
}

func versions(ctx context.Context, b *bench, t []*table, contenders []contender) error {
	return inTurns(ctx, b.rounds, t[0], contenders, func(c contender) (float64, string, error) {
		bin, err := c.binary(b)
		if err != nil {
			return 0, "", err
		}
		took, err := whole(ctx, slices.Concat([]string{bin}, c.flags), b.dir)
		return float64(took), "", err
	})
}

func sizes(_ context.Context, b *bench, t []*table, contenders []contender) error {
	for _, c := range contenders {
		row := t[0].row(c)
		path, err := c.binary(b)
		if err != nil {
			row.Error = err.Error()
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("size of %s: %w", c.name, err)
		}
		row.Samples = []float64{float64(info.Size())}
	}
	return nil
}
