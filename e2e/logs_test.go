//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A logLine is one transition in a candidate's log. All that the tests rely on
// of the log's form is in this file.
type logLine map[string]any

const (
	campaigning    = "campaigning"
	standingBy     = "standing by"
	elected        = "elected"
	childStarted   = "child started"
	renewalFailing = "renewal failing"
	lost           = "lost"
	childStopped   = "child stopped"
	unkillable     = "process cannot be killed"
	released       = "released"
	exiting        = "exiting"
)

func (l logLine) get(key string) string {
	if v, ok := l[key]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

func (l logLine) msg() string { return l.get("msg") }

func (l logLine) pid(t testing.TB) int {
	t.Helper()
	pid, err := strconv.Atoi(l.get("pid"))
	if err != nil {
		t.Fatalf("pid in %v: %v", l, err)
	}
	return pid
}

// logs returns the log so far. Lines that are not JSON are the child's.
func (c *candidate) logs() []logLine {
	var all []logLine
	for line := range strings.Lines(readFile(c.log)) {
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.UseNumber()
		var l logLine
		if decoder.Decode(&l) == nil && l != nil {
			all = append(all, l)
		}
	}
	return all
}

// said returns the lines of one transition.
func (c *candidate) said(msg string) []logLine {
	return slices.DeleteFunc(c.logs(), func(l logLine) bool { return l.msg() != msg })
}

// says waits for the nth line of a transition, counted from one.
func (c *candidate) says(t testing.TB, msg string, n int, limit time.Duration) logLine {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s to log %q (%d)", c.id, msg, n), limit, func() bool { return len(c.said(msg)) >= n })
	return c.said(msg)[n-1]
}

// standsBehind waits until the candidate's newest word is who leads.
func (c *candidate) standsBehind(t testing.TB, leader string, limit time.Duration) logLine {
	t.Helper()
	var newest logLine
	waitFor(t, fmt.Sprintf("%s to log that %s leads", c.id, leader), limit, func() bool {
		if all := c.said(standingBy); len(all) > 0 {
			newest = all[len(all)-1]
		}
		return newest.get("leader") == leader
	})
	return newest
}

// campaignsAgain waits until a candidate that was elected and lost campaigns anew.
func (c *candidate) campaignsAgain(t testing.TB, limit time.Duration) {
	t.Helper()
	waitFor(t, c.id+" to campaign again", limit, func() bool {
		var was bool
		for _, l := range c.logs() {
			was = was || l.msg() == elected
			if was && l.msg() == campaigning {
				return true
			}
		}
		return false
	})
}
