//go:build unix

package cmd

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"leaderrun/supervisor"
)

// How many of the latest ticks the table shows: of each election, and of one that
// was asked for.
const (
	fewTicks  = 1
	manyTicks = 10
)

// statusTable writes the status for people: who leads, and then what was run.
func statusTable(w io.Writer, list []electionStatus, detailed bool) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no election")
		return err
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row(t, "ELECTION", "LEADER", "HOST", "PID", "SINCE", "TOKEN", "STANDING BY")
	for _, e := range list {
		leader := []string{"nobody", "-", "-", "-", "-"}
		if e.Error != "" {
			leader[0] = "unknown"
		}
		if h := e.Leader; h != nil {
			leader = []string{h.ID, h.Host, number(h.PID), moment(h.Since), strconv.FormatUint(uint64(h.Token), 10)}
		}
		row(t, append(append([]string{e.Name}, leader...), standbys(e.Standbys))...)
	}
	_ = t.Flush()
	most := fewTicks
	if detailed {
		most = manyTicks
	}
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	head := "\nELECTION"
	for _, e := range list {
		for _, ts := range []supervisor.Ticks{e.Ticks, e.Keys} {
			for _, tick := range ts[max(0, len(ts)-most):] {
				if head != "" {
					row(t, head, "TICK OR KEY", "STATE", "ATTEMPT", "STATUS", "BY", "STARTED", "ENDED")
					head = ""
				}
				row(t, append([]string{e.Name}, tickCells(tick)...)...)
			}
		}
	}
	_ = t.Flush()
	for _, e := range list {
		if e.Error != "" {
			fmt.Fprintf(&b, "\n%s: %s\n", printable(e.Name), e.Error)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func row(w io.Writer, cells ...string) {
	for i, cell := range cells {
		if cells[i] = printable(cell); i == 0 && strings.HasPrefix(cell, "\n") {
			cells[i] = cell // the empty line before a heading
		}
	}
	_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
}

func standbys(list []standby) string {
	if len(list) == 0 {
		return "nobody"
	}
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.ID
	}
	return strings.Join(ids, ", ")
}

func tickCells(t supervisor.Tick) []string {
	status := "-"
	if !t.End.IsZero() {
		status = strconv.Itoa(t.Status)
	}
	return []string{t.Name, string(t.State), number(t.Attempt), status, dash(t.Candidate), moment(t.Start), moment(t.End)}
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
