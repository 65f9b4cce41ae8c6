//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
	"leaderrun/supervisor"
)

// One crontab line on three hosts with clocks apart, for ten minutes of clocks that go
// ten times as fast as time. The elections of a store go side by side.
func TestOncePer(t *testing.T) {
	t.Parallel()
	servers.Require(t, "netns")
	bin := fakedClock.build(t)
	for _, k := range append([]*kind{fileKind}, networkKinds...) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			three := hosts(t, 3)
			s := &store{kind: k, t: t}
			if k == fileKind {
				s = fileStore(t)
			} else {
				s = own(t, k, serverOptions{host: three[0].Addr()})
			}
			trials := onceTrials(three)
			if !s.isFile() {
				trials = append(trials, unreachableTrials(s, three)...)
			}
			var all []*crontab
			for i, trial := range trials {
				c := trial.crontab
				c.election, c.bin = newElection(t, s), bin
				// Not all in the same instant.
				c.begin = now().add(4*time.Second + time.Duration(i)*300*time.Millisecond)
				all = append(all, c)
			}
			goThrough(t, all)
			for _, trial := range trials {
				trial.told(trial.name)
				trial.judge(trial.crontab)
				trial.asRecorded()
			}
			t.Run("hosts die", func(t *testing.T) { hostsDie(s.in(t), three, bin) })
		})
	}
}

// A cronTrial is a crontab and what must come of it.
type cronTrial struct {
	name string
	*crontab
	judge func(c *crontab)
}

func onceTrials(three []*servers.Netns) []cronTrial {
	on := func(ahead ...time.Duration) (all []cronHost) {
		for i, d := range ahead {
			all = append(all, cronHost{ahead: d, via: three[i].Command})
		}
		return all
	}
	const apart, year = 20 * time.Second, 365 * 24 * time.Hour
	tenMinutes := func(hosts []cronHost, job time.Duration, kills ...int) *crontab {
		return &crontab{hosts: hosts, rate: 10, minutes: 10, job: job, kills: kills, settled: 2 * time.Second}
	}
	yearAhead := tenMinutes(on(year+apart, 0, -apart), 5*time.Second)
	yearAhead.minutes = 4
	alike := on(0, 0, 0)
	alike[1].early = 3 * time.Second
	return []cronTrial{
		{"jobs of 10 ms", tenMinutes(on(0, apart, -apart), 10*time.Millisecond), eachOnce},
		{"jobs of 5 s", tenMinutes(on(0, apart, -apart), 5*time.Second), eachOnce},
		{"clocks alike, one stepped back", tenMinutes(alike, 5*time.Second), eachOnce},
		{"who runs it is killed", tenMinutes(on(0, apart, -apart), 15*time.Second, 2, 5, 9), eachOnce},
		{"jobs of 70 s", tenMinutes(on(0, apart, -apart), 70*time.Second), everySecond},
		{"a year ahead", yearAhead, eachOnce},
	}
}

// eachOnce: the command ran once for each tick, and again where who ran it was killed.
func eachOnce(c *crontab) {
	c.t.Helper()
	want := map[string]int{} // attempts by tick
	for h := range c.hosts {
		for m := 1; m <= c.minutes; m++ {
			want[c.tick(h, m)] = 1
		}
	}
	for _, m := range c.kills {
		want[c.tick(0, m)] = 2
	}
	c.ran(want)
	for _, call := range c.calls {
		status := 0
		if slices.ContainsFunc(c.runs, func(r *jobRun) bool { return r.killed && r.candidate == call.id }) {
			status = 128 + int(unix.SIGKILL)
		}
		c.endedWith(call, status, 0)
	}
}

// everySecond: who was called for a minute in which the command of the minute before
// still ran says so, and so does who ran it.
func everySecond(c *crontab) {
	c.t.Helper()
	want := map[string]int{}
	for m := 1; m <= c.minutes; m += 2 {
		want[c.tick(0, m)] = 1
	}
	c.ran(want)
	atOnce := 0
	for _, call := range c.calls {
		for _, line := range call.said("tick skipped") {
			if strings.Contains(line.get("cause"), "is still running at") {
				atOnce++
			}
		}
		ran := slices.ContainsFunc(c.runs, func(r *jobRun) bool { return r.candidate == call.id })
		switch {
		case call.minute%2 == 0:
			c.endedWith(call, 75, 1)
		case ran:
			c.endedWith(call, 0, 1)
		default:
			c.endedWith(call, 0, 0)
		}
	}
	if atOnce == 0 { // one per skipped tick, unless the machine is slow
		c.t.Errorf("%s: nobody was told that the tick before is still running: they waited for its end", c.name)
	}
	for _, r := range c.recorded(supervisor.TicksValue) {
		if want[r.Name] == 0 && r.State != supervisor.StateSkipped {
			c.t.Errorf("recorded of a tick that was not run: %+v", r)
		}
	}
}

// ran asserts how often the command was started for each tick, that the last of these
// starts came to its end, and no other, and that no two were at the same time.
func (c *crontab) ran(want map[string]int) {
	c.t.Helper()
	got := map[string]int{}
	for _, r := range c.runs {
		got[r.tick]++
		if r.attempt != got[r.tick] {
			c.t.Errorf("%s: start %d of tick %s says that it is attempt %d", c.name, got[r.tick], r.tick, r.attempt)
		}
		if done := r.end != 0; done != (r.attempt == want[r.tick]) {
			c.t.Errorf("%s: attempt %d of tick %s came to its end: %v", c.name, r.attempt, r.tick, done)
		}
	}
	for tick, n := range want {
		if got[tick] != n {
			c.t.Errorf("%s: tick %s was started %d times, want %d", c.name, tick, got[tick], n)
		}
	}
	for tick := range got {
		if want[tick] == 0 {
			c.t.Errorf("%s: tick %s was started", c.name, tick)
		}
	}
	for i := 1; i < len(c.runs); i++ {
		if before, after := c.runs[i-1], c.runs[i]; after.begin < before.end {
			c.t.Errorf("%s: tick %s began %v before the end of tick %s", c.name, after.tick, before.end.since(after.begin), before.tick)
		}
	}
	if c.crowded != "" {
		c.t.Errorf("%s: one host had two callers that wait: %s", c.name, c.crowded)
	}
}

// endedWith asserts the status of a caller, and that it said that so many ticks were
// skipped, and nothing else.
func (c *crontab) endedWith(call *cronCall, status, skipped int) {
	c.t.Helper()
	if call.status != status {
		c.t.Errorf("%s: %s exited with %d, want %d", c.name, call.id, call.status, status)
	}
	said, lines := readFile(call.log), len(call.said("tick skipped"))
	if lines != skipped || strings.Count(said, "\n") != skipped || readFile(call.out) != "" {
		c.t.Errorf("%s: %s said the following, want %d lines on skipped ticks:\n%s%s", c.name, call.id, skipped, said, readFile(call.out))
	}
}

// asRecorded asserts that the store tells of the runs what they told themselves.
func (c *crontab) asRecorded() {
	c.t.Helper()
	records := c.recorded(supervisor.TicksValue)
	for _, r := range c.runs {
		i := slices.IndexFunc(records, func(t supervisor.Tick) bool { return t.Name == r.tick })
		switch {
		case i < 0:
			c.t.Errorf("%s: no record of tick %s", c.name, r.tick)
		case r.end == 0: // there was another attempt
		case records[i].State != supervisor.StateFinished, records[i].Attempt != r.attempt, records[i].Candidate != r.candidate,
			uint64(records[i].Token) != r.token, records[i].Status != 0:
			c.t.Errorf("%s: recorded as %+v: %+v", c.name, records[i], *r)
		}
	}
}

// told logs what a trial came to.
func (c *crontab) told(name string) {
	c.t.Helper()
	var b strings.Builder
	for _, r := range c.runs {
		fmt.Fprintf(&b, "\n%s attempt %d by %s, %v after the first minute, took %v", r.tick, r.attempt, r.candidate, r.begin.since(c.begin), max(0, r.end.since(r.begin)))
	}
	for _, call := range c.calls {
		if call.status != 0 {
			fmt.Fprintf(&b, "\n%s called %v after the first minute, exited with %d after %v", call.id, call.began.since(c.begin), call.status, call.ended.since(call.began))
		}
	}
	c.t.Logf("%s (%s):%s", c.name, name, b.String())
}
