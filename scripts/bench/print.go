//go:build linux

package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A summary is what the table shows of the samples.
type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	P90    float64 `json:"p90"`
	Max    float64 `json:"max"`
}

func summarise(samples []float64) *summary {
	s := slices.Sorted(slices.Values(samples))
	n := len(s)
	// The 90th percentile by nearest rank: a sample, not a guess between two.
	p90 := s[int(math.Ceil(0.9*float64(n)))-1]
	return &summary{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], P90: p90, Max: s[n-1]}
}

// String is the report for people.
func (rep *report) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(rep.Machine)) {
		fmt.Fprintf(&b, "%-11s %s\n", key, rep.Machine[key])
	}
	for _, t := range rep.Tables {
		fmt.Fprintf(&b, "\n%s\n", t.Title)
		t.print(&b)
	}
	return b.String()
}

func (t *table) print(b *strings.Builder) {
	line := func(name string, cells ...any) {
		text := fmt.Sprintf("  %-31s", name) + fmt.Sprintf(" %3s %9s %9s %9s %9s  %s", cells...)
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line("", "n", "median", "min", "p90", "max", "")
	for _, r := range t.Rows {
		name := strings.Join(strings.Fields(r.c.name+" "+r.What+" "+r.Kind), " ")
		n := strconv.Itoa(len(r.Samples))
		if s := r.Summary; s != nil {
			line(name, n, t.format(s.Median), t.format(s.Min), t.format(s.P90), t.format(s.Max), r.remark())
		} else {
			line(name, n, "-", "-", "-", "-", r.remark())
		}
	}
	if t.Error != "" {
		fmt.Fprintf(b, "  failed: %s\n", t.Error)
	}
}

// remark is what stands behind the figures.
func (r *row) remark() string {
	var parts []string
	for _, x := range r.Ratios {
		parts = append(parts, x.String())
	}
	if r.c.args != nil && len(r.c.flags) > 0 {
		parts = append(parts, "with "+strings.Join(r.c.flags, " "))
	}
	if r.Remark != "" {
		parts = append(parts, r.Remark)
	}
	if r.Error != "" {
		line, _, _ := strings.Cut(r.Error, "\n")
		parts = append(parts, "failed: "+line)
	}
	return strings.Join(parts, "; ")
}

func (t *table) format(v float64) string {
	switch {
	case t.Unit == octets && v < 1<<20:
		return fmt.Sprintf("%.0f KiB", v/(1<<10))
	case t.Unit == requests:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case t.Unit == octets:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	}
	if v >= 10*float64(time.Second) {
		return fmt.Sprintf("%.1f s", v/float64(time.Second))
	}
	return fmt.Sprintf("%.1f ms", v/float64(time.Millisecond))
}
