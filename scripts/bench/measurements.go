//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// A measurement is one table.
type measurement struct {
	key, title, unit string
	contenders       []contender
	run              func(context.Context, *bench, *table, []contender) error
}

const (
	nanoseconds = "ns"
	bytes       = "B"
)

var measurements = []measurement{
	{
		key: "handover", unit: nanoseconds,
		title:      "handover: the leader's child ends by itself, to the first instruction of the next child",
		contenders: []contender{leaderrunFile, flock, leaderrunEtcd, etcdctl},
		run:        faults(childEnds),
	},
	{
		key: "term", unit: nanoseconds,
		title: "handover: SIGTERM to the leader, to the first instruction of the next child",
		contenders: []contender{
			leaderrunFile, flock.within(time.Second), leaderrunEtcd, etcdctl.within(time.Second),
		},
		run: faults(terminate),
	},
	{
		key: "takeover", unit: nanoseconds,
		title: "takeover: SIGKILL to the leading supervisor, to the first instruction of the next child",
		contenders: []contender{
			// The least TTL that etcd grants; etcdctl's default is 10 s.
			leaderrunFile, flock.within(time.Second), leaderrunEtcd, etcdctl.within(6*time.Second, "--ttl=2"),
		},
		run: faults(killSupervisor),
	},
	{
		key: "cold", unit: nanoseconds,
		title:      "acquire + `true` + release: a whole run, nobody else there",
		contenders: []contender{bare, leaderrunFile, flock, leaderrunEtcd, etcdctl},
		run:        coldRuns,
	},
	{
		key: "child", unit: nanoseconds,
		title:      "start of the measuring child itself, in every handover and takeover above",
		contenders: []contender{bare},
		run: func(ctx context.Context, b *bench, t *table, c []contender) error {
			return inTurns(ctx, b.rounds, t, c, func(contender) (float64, string, error) {
				took, err := b.alone(ctx)
				return float64(took), "", err
			})
		},
	},
	{
		key: "memory", unit: bytes,
		title:      "memory: all processes of a candidate but the child (what two share counts once in PSS, twice in RSS)",
		contenders: []contender{leaderrunFile, flock, leaderrunEtcd, etcdctl},
		run:        memories,
	},
	{
		key: "size", unit: bytes,
		title:      "size of the binary",
		contenders: []contender{leaderrunBinary, flock, etcdctl},
		run:        sizes,
	},
}

func (m measurement) measure(ctx context.Context, b *bench, contenders []contender) *table {
	t := &table{Key: m.key, Title: m.title, Unit: m.unit}
	for _, c := range contenders {
		t.row(c)
	}
	if err := m.run(ctx, b, t, contenders); err != nil {
		t.Error = err.Error()
	}
	return t
}

// inTurns takes one sample of each contender, then the next of each; the first
// of each warms up and counts for nothing. A contender that fails is left out
// from then on, with the error in its row.
func inTurns(ctx context.Context, rounds int, t *table, contenders []contender,
	sample func(contender) (value float64, remark string, err error),
) error {
	for i := range rounds + 1 {
		for _, c := range contenders {
			row := t.row(c)
			if row.Error != "" || c.once > 0 && i != 1 {
				continue
			}
			value, remark, err := sample(c)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				row.Error = err.Error()
			case remark != "":
				row.Remark = remark
			}
			if err == nil && i > 0 && value > 0 {
				row.Samples = append(row.Samples, value)
			}
		}
	}
	return nil
}

func faults(do fault) func(context.Context, *bench, *table, []contender) error {
	return func(ctx context.Context, b *bench, t *table, contenders []contender) error {
		return inTurns(ctx, b.rounds, t, contenders, func(c contender) (float64, string, error) {
			took, remark, err := b.handover(ctx, c, do)
			return float64(took), remark, err
		})
	}
}

// coldRuns keeps each contender's election, as a job of cron(8) does.
func coldRuns(ctx context.Context, b *bench, t *table, contenders []contender) (err error) {
	rounds := map[string]*round{}
	for _, c := range contenders {
		r, err := b.newRound(c)
		if err != nil {
			t.row(c).Error = err.Error()
			continue
		}
		rounds[c.key] = r
		defer func() { err = errors.Join(err, r.close()) }()
	}
	return inTurns(ctx, b.rounds, t, contenders, func(c contender) (float64, string, error) {
		took, err := b.cold(ctx, c, rounds[c.key])
		return float64(took), "", err
	})
}

func sizes(_ context.Context, b *bench, t *table, contenders []contender) error {
	for _, c := range contenders {
		row := t.row(c)
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
