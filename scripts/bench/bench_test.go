//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

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
	rep := &report{Tables: []*table{
		{Key: "handover", Rows: rows(6, 4)}, {Key: "takeover", Rows: rows(12, 48)},
	}}
	rep.compare()
	if got, want := rep.Tables[0].Rows[0].Ratios, []ratio{{"etcdctl lock", 1.5}}; !slices.Equal(got, want) {
		t.Errorf("handover: %v, want %v", got, want)
	}
	if got, want := rep.Tables[1].Rows[0].Ratios, []ratio{{"etcdctl lock", .25}, {"its handover", 2}}; !slices.Equal(got, want) {
		t.Errorf("takeover: %v, want %v", got, want)
	}
	if got, want := rep.Tables[1].Rows[1].Ratios, []ratio{{"its handover", 12}}; !slices.Equal(got, want) {
		t.Errorf("takeover of the rival: %v, want %v", got, want)
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
	for _, m := range measurements[:3] {
		contenders := []contender{leaderrunFile}
		if _, err := exec.LookPath("flock"); err == nil && m.contenders[1].once == 0 {
			contenders = append(contenders, flock)
		}
		got := m.measure(t.Context(), b, contenders)
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
