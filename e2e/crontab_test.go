//go:build linux

package e2e

import (
	"cmp"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A crontab is one election's line in the crontabs of some hosts, called at the full
// minutes of each host's clock: firstMinute is the first.
type crontab struct {
	*election
	hosts   []cronHost
	rate    int           // of the clocks
	minutes int           // how many
	job     time.Duration // how long the command takes, by the clocks
	kills   []int         // minutes in which who runs the command is SIGKILLed half-way, once
	cut     func()        // nil for nothing
	cutAt   time.Duration // by the clocks, from the first minute
	settled time.Duration // in real time: a caller older than this has started the command, or has ended, or is the one that waits

	bin     string
	begin   instant // of the first minute on a clock that is right
	runs    []*jobRun
	calls   []*cronCall
	crowded string // what was seen of a host with two that wait
}

var firstMinute = time.Date(2026, time.March, 29, 0, 58, 0, 0, time.UTC)

// A cronHost is where a cron calls leaderrun.
type cronHost struct {
	ahead time.Duration                               // of its clock
	early time.Duration                               // by its clock, at which it calls: it was stepped back after the full minute
	via   func(name string, args ...string) *exec.Cmd // nil for this host
	store string                                      // URL, if not the election's
}

// A cronCall is one leaderrun that a cron has started.
type cronCall struct {
	*candidate
	host, minute int
	began, ended instant // ended is 0 for not yet
}

// A jobRun is what the command itself tells of one start.
type jobRun struct {
	tick       string
	attempt    int
	token      uint64
	candidate  string
	begin, end instant // end is 0 if it did not come to that
	killed     bool    // by us
}

// tick is the name of a minute, counted from 1, on a host.
func (c *crontab) tick(host, minute int) string {
	// The hosts are at most half a minute apart, or else by design.
	far := c.hosts[host].ahead.Round(time.Minute)
	return firstMinute.Add(far + time.Duration(minute-1)*time.Minute).Format(time.RFC3339)
}

func (c *crontab) clock(host int) wallClock {
	return wallClock{c.begin, firstMinute.Add(c.hosts[host].ahead), c.rate}
}

// calledAt is when a host's cron calls for a minute.
func (c *crontab) calledAt(host, minute int) instant {
	far := c.hosts[host].ahead.Round(time.Minute)
	return c.clock(host).shows(firstMinute.Add(far + time.Duration(minute-1)*time.Minute - c.hosts[host].early))
}

// real is how long d on the clocks takes.
func (c *crontab) real(d time.Duration) time.Duration { return d / time.Duration(c.rate) }

// An event is something to do at an instant.
type event struct {
	at instant
	do func()
}

func (c *crontab) events() (all []event) {
	for h := range c.hosts {
		for m := 1; m <= c.minutes; m++ {
			all = append(all, event{c.calledAt(h, m), func() { c.call(h, m) }})
		}
	}
	if c.cut != nil {
		all = append(all, event{c.begin.add(c.real(c.cutAt)), c.cut})
	}
	return all
}

func (c *crontab) call(host, minute int) {
	c.t.Helper()
	h := c.hosts[host]
	began := now()
	called := c.start(spec{
		id: fmt.Sprintf("h%d.%d", host, minute), bin: c.bin, via: h.via, store: h.store,
		flags: []string{"--once-per", "1m"}, env: []string{c.clock(host).variable()},
		command: c.child("--log-runs", c.runsFile(), "--exit", "0", "--after", c.real(c.job).String()),
	})
	c.calls = append(c.calls, &cronCall{candidate: called, host: host, minute: minute, began: began})
}

func (c *crontab) runsFile() string { return c.history.path + ".runs" }

// readRuns takes in what the commands have told.
func (c *crontab) readRuns() {
	c.t.Helper()
	var all []*jobRun
	for line := range strings.Lines(readFile(c.runsFile())) {
		var at instant
		var word string
		var r jobRun
		if _, err := fmt.Sscan(line, &at, &word, &r.tick, &r.attempt, &r.token, &r.candidate); err != nil {
			c.t.Fatalf("run %q: %v", line, err)
		}
		tick, err := time.Parse(time.RFC3339, r.tick)
		must(c.t, err)
		r.tick = tick.UTC().Format(time.RFC3339)
		same := slices.IndexFunc(all, func(o *jobRun) bool { return o.token == r.token && o.attempt == r.attempt && o.tick == r.tick })
		if word == "end" && same >= 0 {
			all[same].end = at
			continue
		}
		r.begin = at
		if n := len(all); n < len(c.runs) {
			r.killed = c.runs[n].killed
		}
		all = append(all, &r)
	}
	c.runs = all
}

// watch notes what ended and who waits, and kills whom it is to kill.
func (c *crontab) watch() {
	c.t.Helper()
	c.readRuns()
	waiting := map[int][]string{}
	for _, call := range c.calls {
		if call.ended == 0 && call.candidate.ended() {
			call.ended = now()
		}
		runs := slices.ContainsFunc(c.runs, func(r *jobRun) bool { return r.candidate == call.id })
		if call.ended == 0 && !runs && now().since(call.began) > c.settled {
			waiting[call.host] = append(waiting[call.host], call.id)
		}
	}
	for _, ids := range waiting {
		if len(ids) > 1 && c.crowded == "" {
			c.crowded = fmt.Sprint(ids)
		}
	}
	for _, r := range c.runs {
		half := r.begin.add(c.real(c.job) / 2)
		for _, m := range c.kills {
			if r.tick == c.tick(0, m) && r.attempt == 1 && !r.killed && now() >= half {
				r.killed = true
				c.called(r.candidate).signal(c.t, unix.SIGKILL)
			}
		}
	}
}

func (c *crontab) called(id string) *cronCall {
	return c.calls[slices.IndexFunc(c.calls, func(call *cronCall) bool { return call.id == id })]
}

// goThrough lets all that is due happen, and returns when every caller has ended.
func goThrough(t *testing.T, crontabs []*crontab) {
	t.Helper()
	var events []event
	for _, c := range crontabs {
		events = append(events, c.events()...)
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	looked := now()
	look := func() (allEnded bool) {
		if now().since(looked) < 20*time.Millisecond {
			return false
		}
		looked = now()
		allEnded = true
		for _, c := range crontabs {
			c.watch()
			allEnded = allEnded && !slices.ContainsFunc(c.calls, func(call *cronCall) bool { return call.ended == 0 })
		}
		return allEnded
	}
	for _, e := range events {
		poll(time.Duration(e.at-now()), func() bool { look(); return now() >= e.at })
		e.do()
	}
	waitFor(t, "the last callers to end", patient, look)
	for _, c := range crontabs {
		c.readRuns()
	}
}
