//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

func TestSummarise(t *testing.T) {
	for _, c := range []struct {
		samples []float64
		want    summary
	}{
		{[]float64{7}, summary{7, 7, 7, 7}},
		{[]float64{4, 1, 3, 2}, summary{2.5, 1, 4, 4}},
		{[]float64{5, 9, 1, 2, 3, 4, 6, 7, 8, 10}, summary{5.5, 1, 9, 10}},
	} {
		before := slices.Clone(c.samples)
		if got := *summarise(c.samples); got != c.want {
			t.Errorf("summarise(%v) = %+v, want %+v", c.samples, got, c.want)
		}
		if !slices.Equal(before, c.samples) {
			t.Errorf("summarise sorted %v", before)
		}
	}
}

func TestWaitsForFlock(t *testing.T) {
	const locks = `1: FLOCK  ADVISORY  WRITE 101 fe:00:77 0 EOF
1: -> FLOCK  ADVISORY  WRITE 102 fe:00:77 0 EOF
2: POSIX  ADVISORY  WRITE 103 fe:00:78 0 EOF
`
	for pid, want := range map[int]bool{101: false, 102: true, 103: false, 10: false} {
		if got := waitsForFlock(locks, pid); got != want {
			t.Errorf("waitsForFlock(%d) = %v, want %v", pid, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	rows := func(own, rival float64) []*row {
		return []*row{
			{Contender: "leaderrun-etcd", Samples: []float64{own}, c: leaderrunEtcd},
			{Contender: "etcdctl", Samples: []float64{rival}, c: etcdctl},
		}
	}
	const ms = float64(time.Millisecond)
	rep := &report{Tables: []*table{
		{Key: "handover", Rows: rows(6*ms, 4*ms)},
		{Key: "takeover", Rows: rows(30*ms, 48*ms)},
		{Key: "cold", Rows: rows(8*ms, 8*ms)},
		{Key: "revoked", Rows: rows(12*ms, 0)},
	}}
	rep.Tables[0].Rows = append(rep.Tables[0].Rows, &row{Contender: "consul-lock", Samples: []float64{5 * ms}, c: consulLock})
	rep.compare()
	for i, want := range [][]ratio{
		{{"etcdctl lock", 1.5, "", false}, {"consul lock", 1.2, "<= 1.00", false}},
		{{"etcdctl lock", .625, "", false}, {"its handover", 5, "< 5.00", false}},
		{{"etcdctl lock", 1, "<= 1.00", true}},
		{{"", 12 * ms, "< 10.0 ms", false}}, // and none to a rival that needs no time
	} {
		if got := rep.Tables[i].Rows[0].Ratios; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", rep.Tables[i].Key, got, want)
		}
	}
}

// Of the others some look at the queue by chance; where all were woken, all do.
func TestWoken(t *testing.T) {
	once, twice := tally{"KV/Txn": 1}, tally{"KV/Txn": 2}
	for _, c := range []struct {
		others []tally
		want   int
	}{
		{nil, 3},
		{[]tally{nil, once}, 3},
		{[]tally{nil, nil, twice}, 3},
		{[]tally{once, once}, 5},
		{[]tally{once, nil, twice, once}, 7},
	} {
		if got := newWoken(once, twice, c.others).sum(); got != c.want {
			t.Errorf("%v: %d requests, want %d", c.others, got, c.want)
		}
	}
}

// A target that names no figure would never be missed.
func TestTargetsAreMeasured(t *testing.T) {
	found := func(x place) bool {
		for _, m := range measurements {
			for _, of := range m.tables {
				if of.Key == x.table && slices.ContainsFunc(m.contenders, func(c contender) bool { return c.key == x.contender }) {
					return true
				}
			}
		}
		return false
	}
	for _, x := range targets {
		if !found(x.place) || x.of != (place{}) && !found(x.of) {
			t.Errorf("target %+v: nothing measures that", x)
		}
	}
}

// The benchmark is run by hand and seldom. This keeps it working: real rounds
// of flock(1) and of leaderrun, and nothing left of them.
func TestRounds(t *testing.T) {
	root, err := servers.Root()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{rounds: 1, dir: t.TempDir()}
	if err := b.build(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	_, noFlock := exec.LookPath("flock")
	for _, key := range []string{"handover", "term", "takeover", "tree"} {
		m := measurements[slices.IndexFunc(measurements, func(m measurement) bool { return m.key == key })]
		contenders := slices.DeleteFunc(slices.Clone(m.contenders), func(c contender) bool {
			return c.store != "" || c.once > 0 || c.key == flock.key && noFlock != nil
		})
		got := m.measure(t.Context(), b, contenders)[0]
		for _, r := range got.Rows {
			if len(r.Samples) != 1 || r.Error != "" {
				t.Errorf("%s/%s: %d samples, want 1: %s %s", m.key, r.Contender, len(r.Samples), got.Error, r.Error)
			}
		}
	}
	if left := below(os.Getpid()); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "bench-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
