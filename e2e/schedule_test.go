//go:build linux

package e2e

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
	"leaderrun/supervisor"
)

// A schedule goes on over a change of the leader between two ticks: on the grid of
// the Unix epoch, no tick twice and none left out. Nobody says a word.
func TestScheduleHandOver(t *testing.T) {
	t.Parallel()
	const period = 3 * time.Second
	eachStore(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		e.ends("0")
		start := func(id string) *candidate {
			return e.start(spec{id: id, command: e.job(), flags: []string{"--schedule", period.String()}})
		}
		a := start("a")
		e.run(1)
		b := start("b")
		e.stands(supervisor.TicksValue, e.run(2).tick, supervisor.StateFinished)
		a.stopsIdle(t)
		e.stands(supervisor.TicksValue, e.run(4).tick, supervisor.StateFinished)
		b.stopsIdle(t)

		due := e.run(1).due(t)
		for i, r := range e.jobStarts() {
			if !r.due(t).Equal(due) || due.UnixNano()%int64(period) != 0 || r.attempt != 1 {
				t.Errorf("start %d is attempt %d for the tick %s, want the first for %v", i+1, r.attempt, r.tick, due)
			}
			if late := r.at.Sub(due); late < 0 || late > prompt {
				t.Errorf("the tick %s was started after %v", r.tick, late)
			}
			if want := []string{"a", "a", "b", "b"}; i >= len(want) || r.candidate != want[i] {
				t.Errorf("start %d is by %s", i+1, r.candidate)
			}
			due = due.Add(period)
		}
		for _, c := range []*candidate{a, b} {
			if text := readFile(c.log) + readFile(c.out); text != "" {
				t.Errorf("%s is not quiet:\n%s", c.id, text)
			}
		}
	})
}

// stopsIdle stops a candidate that runs no command: it exits with 143 or, if it was just
// about to be told that its job's end is recorded, with the job's 0.
func (c *candidate) stopsIdle(t testing.TB) {
	t.Helper()
	c.signal(t, unix.SIGTERM)
	waitFor(t, c.id+" to exit", prompt, c.ended)
	if c.status != 128+15 && c.status != 0 {
		t.Errorf("%s exited with %d, want 143", c.id, c.status)
	}
}

// A leader ends in the middle of a tick: the next one runs that tick, unless it has
// finished, and none that finished before.
func TestScheduleInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		sig    syscall.Signal
		polite bool // exits with 0 when told to stop
		status int
		stores func(*testing.T, func(*store))
	}{
		{"killed", unix.SIGKILL, false, 128 + 9, eachStore},
		{"told", unix.SIGTERM, false, 128 + 15, two},
		{"told and finished", unix.SIGTERM, true, 0, two},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.stores(t, func(s *store) {
				t := s.t
				t.Parallel()
				e := newJobs(t, s)
				if c.polite {
					e.put("polite", "")
				}
				e.ends("0")
				flags := []string{"--schedule", "2s"}
				a := e.start(spec{id: "a", command: e.job(), flags: flags})
				finished := e.run(1)
				e.stands(supervisor.TicksValue, finished.tick, supervisor.StateFinished)
				e.holds()
				e.start(spec{id: "b", command: e.job(), flags: flags})
				second := e.run(2)
				e.beatsAgain(e.leads(a, nil))
				a.signal(t, c.sig)
				a.exits(t, c.status, patient)
				third := e.run(3)
				e.ends("0")

				tick, again := e.stands(supervisor.TicksValue, second.tick, supervisor.StateFinished), 2
				if c.polite {
					again = 1
				} else if third.tick != second.tick || third.attempt != 2 || third.candidate != "b" {
					t.Errorf("the next leader began with %v, want the second attempt at %s", third, second.tick)
				}
				if tick.Attempt != again || tick.Status != 0 {
					t.Errorf("recorded is %v, want attempt %d", tick, again)
				}
				e.run(4)
				starts := map[string]int{}
				for _, r := range e.jobStarts() {
					starts[r.tick]++
				}
				for tick, n := range starts {
					if want := map[string]int{second.tick: again}[tick]; n != max(1, want) {
						t.Errorf("the tick %s was started %d times", tick, n)
					}
				}
				if line := a.said(tickEnded); c.status == 128+15 && (len(line) != 1 || line[0].get("state") != "interrupted") {
					t.Errorf("does not say that the tick was interrupted: %v", line)
				}
			})
		})
	}
}

// Ticks that come up while an earlier one runs are skipped, with a line and a record
// of the latest; the one after is run.
func TestScheduleOverrun(t *testing.T) {
	t.Parallel()
	const period = time.Second
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		a := e.start(spec{id: "a", command: e.job(), flags: []string{"--schedule", period.String()}})
		first := e.run(1)
		pass(time.Until(first.due(t).Add(2*period + period/4)))
		e.ends("0")
		second := e.run(2)
		line := a.says(t, tickSkipped, 1, prompt)
		skipped := line.get("tick")
		if record := e.record(supervisor.TicksValue, skipped); record.State != supervisor.StateSkipped {
			t.Errorf("recorded is %v, want that it was skipped", record)
		}
		if due := second.due(t).Add(-period); (jobStart{tick: skipped}).due(t) != due || due.Before(first.due(t).Add(2*period)) {
			t.Errorf("%s ran on until %s was skipped, and then %s was run", first.tick, skipped, second.tick)
		}
		a.saysOnly(t, tickSkipped)
	})
}

// A tick that came up while nobody led is run with --catch-up, once, if it is no older.
func TestScheduleCatchUp(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		period, age := missed()
		e := newJobs(t, s)
		e.ends("0")
		leads := func(id string, starts int, flags ...string) {
			c := e.start(spec{id: id, command: e.job(), flags: append(flags, "--schedule", period.String(), "--log-level", "info")})
			c.says(t, elected, 1, patient)
			if starts > 0 {
				e.stands(supervisor.TicksValue, e.run(starts).tick, supervisor.StateFinished)
			}
			staysTrue(t, "nothing else is started", time.Second, func() bool { return len(e.jobStarts()) == starts })
			c.stopsIdle(t)
		}
		leads("a", 0)
		leads("b", 0, "--catch-up", (age - 30*time.Second).String())
		leads("c", 1, "--catch-up", (age + time.Minute).String())
		leads("d", 1, "--catch-up", (age + time.Minute).String())
		if due := e.run(1).due(t); time.Since(due) > age+time.Minute || due.UnixNano()%int64(period) != 0 {
			t.Errorf("caught up %v", due)
		}
	})
}

// missed returns a period whose latest tick is minutes ago, as is its next.
func missed() (period, age time.Duration) {
	for _, period = range []time.Duration{time.Hour, 7 * time.Hour, 13 * time.Hour} {
		age = time.Duration(time.Now().UnixNano() % int64(period))
		if age > 2*time.Minute && age < period-2*time.Minute {
			break
		}
	}
	return period, age
}

// The store goes away in the middle of a tick for longer than the lease: the tick was
// interrupted, which nobody can write down, and the next leader runs it again.
func TestScheduleStoreAway(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, s := n.t, shared(n.t, n.kind)
		t.Parallel()
		ttl := s.lease(3 * time.Second)
		proxy := servers.NewProxy(t, s.Endpoints()[0])
		e := newJobs(t, s)
		flags := []string{"--schedule", "1s"}
		a := e.start(spec{
			id: "a", ttl: ttl, store: s.at(proxy.Addr()), command: e.job("--fork", "--daemon"),
			flags: append([]string{"--health-command", "exec " + e.beats(roleCheck, "--ignore-term"), "--health-interval", "500ms"}, flags...),
		})
		first := e.run(1)
		b := e.start(spec{id: "b", ttl: ttl, command: e.job(), flags: flags})
		tenure := e.leads(a, nil, "fork", "daemon", roleCheck)
		renewed(ttl)
		proxy.Hold()
		fault := now()
		e.diedInTime(tenure, fault, ttl)
		second := e.run(2)
		if second.tick != first.tick || second.attempt != 2 || second.candidate != "b" {
			t.Errorf("the next leader began with %v, want the second attempt at %s", second, first.tick)
		}
		e.handedOver(tenure, e.leads(b, tenure), s.takeover(ttl))
		if line := a.says(t, tickEnded, 1, prompt); line.get("state") != "interrupted" {
			t.Errorf("the tick is said to be %v", line)
		}
		line := a.says(t, tickUnrecorded, 1, prompt)
		if line.get("level") != "ERROR" || line.get("tick") != first.tick || line.get("cause") == "" {
			t.Errorf("does not say at error which tick, and why: %v", line)
		}
		e.ends("0")
		if r := e.stands(supervisor.TicksValue, first.tick, supervisor.StateFinished); r.Attempt != 2 || r.Candidate != "b" ||
			uint64(r.Token) != e.of(b).token {
			t.Errorf("recorded is %v", r)
		}
		proxy.Resume()
	})
}
