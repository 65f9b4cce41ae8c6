//go:build unix

package cmd

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"leaderrun/lock"
)

// The texts of check. One line is one finding: first ok, warning or error, so
// that grep finds it, then two words at most that say what it is about.

const (
	checkShort = "Try the settings out and say what was found"

	checkLong = `Connects with the settings of a run, tries on a key of its own what a run has to
do, removes it, and says line by line what it found: each setting and where it
came from, the store, and the times that follow. It starts nothing and takes no
part in the election. The last line tells the exit status: 0, 69 (store
unavailable), 77 (credentials refused) or 78 (bad configuration).`

	checkExamples = `  leaderrun check --store etcd://10.0.0.1:2379 --name worker
  leaderrun check --store file: | grep -E '^(warning|error)'`

	checkNameUsage = "the election below which it tries (default " + checkElection + ")"

	interrupted = "interrupted"

	headSettings = "settings"
	headStore    = "store"
	headTimeline = "timeline, counted from the last renewal that the store answered"
	// of a relayed lease, see lock.Grant
	headRelayed = "timeline, counted from the last renewal but one that the store answered"
)

// A report writes findings and remembers the first error.
type report struct {
	out              io.Writer
	unread           func() // is called once if nobody reads what we say
	first            error
	errors, warnings int
}

func (r *report) head(text string) {
	if text != headSettings {
		text = "\n" + text
	}
	r.print("%s\n", text)
}

func (r *report) print(format string, args ...any) {
	if _, err := fmt.Fprintf(r.out, format, args...); err != nil && r.unread != nil {
		r.unread()
		r.unread = nil
	}
}

func (r *report) tell(f lock.Finding) {
	level, text := "ok", f.Text
	switch {
	case f.Err != nil:
		level, text = "error", f.Err.Error()
		r.errors++
		if r.first == nil {
			r.first = f.Err
		}
	case f.Warning:
		level = "warning"
		r.warnings++
	}
	r.print("%-8s %-20s %s\n", level, f.Topic, printable(text))
}

// conclude says how it ended and returns the exit status.
func (r *report) conclude() int {
	status := exitStatus(r.first)
	r.print("\nexit status %d: %s, %s\n", status, count(r.errors, "error"), count(r.warnings, "warning"))
	return status
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// widest is up to where the origins of settings are aligned.
const widest = 48

func (r *report) settings(o *options, f *pflag.FlagSet, s lock.Settings, from origins) {
	list, width := inForce(o, f, s, from), 0
	for _, s := range list {
		if n := len(s.value); n <= widest {
			width = max(width, n)
		}
	}
	for _, s := range list {
		lock.Tell(r.tell).OK(s.name, "%-*s  %s", width, s.value, s.origin)
	}
}

// timeline tells what follows from the lifetime that was granted. The times of
// renewals are lock.Timing's, and those of the end the keeper's and the
// supervisor's: the deadline is the lifetime less the margin.
func (r *report) timeline(out lock.Outlook, c lock.Candidate, o *options) {
	tell := lock.Tell(r.tell)
	head := headTimeline
	if out.Relayed {
		head = headRelayed
	}
	r.head(head)
	t, err := out.Timing(c)
	if err != nil {
		tell.Fail("lease", err)
		return
	}
	deadline := out.Lifetime - t.Margin
	tell.OK("renew every", "%s, or up to a tenth sooner", about(t.Interval))
	tell.OK("request time-out", "%s: then another connection is tried", about(t.Request))
	tell.OK("stop signal at", "%s: %s, if nothing was answered until then", about(deadline-t.Grace), o.stopSignal.String())
	tell.OK("KILL at", "%s: the lease ends %s later at the earliest", about(deadline), about(t.Margin))
	if out.ThisHost {
		tell.OK("next leader", "at once when leaderrun ends: the kernel frees the lock; after %s if it is frozen", about(out.Hold))
		return
	}
	from := ""
	if out.Relayed {
		from = " after the very last"
	}
	tell.OK("next leader by", "%s%s: the store keeps the lock for %s (longer if its own leader changes), settling takes %s at most",
		about(out.Hold+out.Settle), from, about(out.Hold), about(out.Settle))
}

// about leaves out what nobody plans with.
func about(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }
