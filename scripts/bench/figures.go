//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// cold runs `true` beside a fleet. Its processor time is that of all its processes.
func (m *muster) cold(ctx context.Context, f *fleet) error {
	beside := fmt.Sprintf("a run of `true` beside %d + %d", len(f.posts), len(f.posts))
	argv := append(ordinary(), m.c.argv(&round{c: m.c, election: "cold"}, m.b.leaderrun, m.gate.addr, "cold", "/bin/true")...)
	for range 6 {
		p, err := start(argv, environment(), filepath.Join(f.dir, "cold.log"))
		if err != nil {
			return err
		}
		if err := p.wait(patient); err != nil || !p.cmd.ProcessState.Success() {
			return fmt.Errorf("%s: %v, %w\n%s", beside, p.cmd.ProcessState, err, p.logTail())
		}
		m.took(beside, p.ended.Sub(p.started))
		m.took("processor time of "+beside, p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime())
	}
	return ctx.Err()
}

// memory is that of a few of the fleet, of one candidate each.
func (m *muster) memory(f *fleet) error {
	if _, err := f.look(); err != nil {
		return err
	}
	for _, p := range f.posts[:few] {
		for i, role := range []string{leader, standby} {
			one := &post{child: p.child, candidates: p.candidates[i : i+1]}
			for _, kind := range kinds {
				var sum float64
				for _, pid := range f.pids([]*post{one}) {
					n, err := memoryOf(pid, kind.line)
					if err != nil {
						return fmt.Errorf("read memory: %w", err)
					}
					sum += n
				}
				row := m.t[manyMemory].rowNamed(m.c, fmt.Sprintf("%s of %d", role, len(f.posts)), kind.name)
				row.Samples = append(row.Samples, sum)
			}
		}
	}
	return nil
}

func (m *muster) took(what string, d time.Duration) {
	row := m.t[manyTimes].rowNamed(m.c, what, "")
	row.Samples = append(row.Samples, float64(d))
}

// rates notes what came in each tenth of a second.
func (m *muster) rates(when string, from, to time.Time) {
	came, asked := m.gate.between(from, to)
	for kind, n := range map[string][]float64{"connections": came, "requests": asked} {
		row := m.t[manyRates].rowNamed(m.c, when, kind)
		row.Samples, row.Remark = n, fmt.Sprintf("mean %.1f", mean(n))
		if kind == "requests" && m.calm > 0 {
			row.Remark += fmt.Sprintf(", busiest %.1f times that of calm", slices.Max(n)/m.calm)
		}
	}
}

func mean(n []float64) (mean float64) {
	for _, v := range n {
		mean += v / float64(len(n))
	}
	return mean
}
