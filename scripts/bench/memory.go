//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	memoryRounds  = 2
	memorySamples = 3
	// warm passes before memory is read: a third of leaderrun's default TTL and
	// of etcdctl's, so that each has renewed at least once.
	warm = 6 * time.Second
)

// What candidates do.
const (
	leader  = "leader"
	standby = "standby"
)

// kinds are the lines of smaps_rollup (proc(5)). Anonymous memory is what the
// kernel cannot drop and read again from the binary.
var kinds = []struct{ name, line string }{{"PSS", "Pss"}, {"anon", "Pss_Anon"}, {"RSS", "Rss"}}

// A role is a candidate and what it is doing.
type role struct {
	r    *round
	p    *process
	not  identity // the child, which is not counted
	what string
}

// memories runs a leader and a standby of every contender at once: memory, unlike
// time, does not suffer from company. Each process has a copy of its binary for
// itself, for PSS halves what two share, and two hosts share nothing. What a
// supervisor shares with its own guard and sentinel is counted once.
func memories(ctx context.Context, b *bench, t *table, contenders []contender) error {
	t.Rows = nil // made anew, rivals side by side
	for _, what := range []string{leader, standby} {
		for _, kind := range kinds {
			for _, c := range contenders {
				t.rowNamed(c, what, kind.name)
			}
		}
	}
	for range memoryRounds {
		if err := memoryRound(ctx, b, t, contenders); err != nil {
			return err
		}
	}
	return nil
}

func memoryRound(ctx context.Context, b *bench, t *table, contenders []contender) (err error) {
	var roles []role
	for _, c := range contenders {
		r, err := b.newRound(c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.close()) }()
		if err := r.inCopies(ctx); err != nil {
			return r.explain(err)
		}
		roles = append(roles, role{r, r.leader, r.child, leader}, role{r, r.standby, identity{}, standby})
	}
	if err := pause(ctx, warm); err != nil {
		return err
	}
	for range memorySamples {
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
		for _, x := range roles {
			if err := x.sample(t); err != nil {
				return x.r.explain(err)
			}
		}
	}
	return nil
}

// inCopies starts a leader and a standby, each from a file of its own.
func (r *round) inCopies(ctx context.Context) error {
	var bins [2]string
	for i, id := range []string{leader, standby} {
		bins[i] = filepath.Join(r.dir, id+"-"+filepath.Base(r.bin))
		if err := copyFile(r.bin, bins[i]); err != nil {
			return err
		}
	}
	if err := r.lead(ctx, bins[0]); err != nil {
		return err
	}
	return r.standBy(ctx, bins[1])
}

func (x role) sample(t *table) error {
	pids := []int{x.p.pid()}
	for _, id := range below(x.p.pid()) {
		if id != x.not {
			pids = append(pids, id.pid)
		}
	}
	for _, kind := range kinds {
		row := t.rowNamed(x.r.c, x.what, kind.name)
		var sum float64
		var parts []string
		for _, pid := range pids {
			n, err := memoryOf(pid, kind.line)
			if err != nil {
				return fmt.Errorf("read memory: %w", err)
			}
			sum += n
			parts = append(parts, t.format(n))
		}
		row.Samples = append(row.Samples, sum)
		if len(parts) > 1 {
			row.Remark = "supervisor, guard, sentinel: " + strings.Join(parts, " + ")
		}
	}
	return nil
}

// memoryOf returns one line of smaps_rollup, in bytes.
func memoryOf(pid int, kind string) (float64, error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, kind+":"); ok {
			n, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return 1024 * n, err // "kB" is KiB
		}
	}
	return 0, fmt.Errorf("%s: no %s", path, kind)
}

// copyFile copies as cp(1) does: how a file came into the page cache bears on
// how much of it a process maps.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
