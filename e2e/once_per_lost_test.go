//go:build linux

package e2e

import (
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
	"leaderrun/supervisor"
)

// A store that cannot be reached: callers end when their next tick is due, so that
// they do not pile up. A look at the store takes three seconds here, where it is
// silent: clocks that go three times as fast as time leave room for that.
func unreachableTrials(s *store, three []*servers.Netns) []cronTrial {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.t, err)
	refusing := l.Addr().String()
	must(s.t, l.Close())
	silent, cut := servers.NewProxy(s.t, s.Endpoints()[0]), servers.NewProxy(s.t, s.Endpoints()[0])
	silent.Hold()
	threeMinutes := func(hosts ...cronHost) *crontab {
		// The next caller has patience for five seconds, and a look more.
		return &crontab{hosts: hosts, rate: 3, minutes: 3, settled: 8*time.Second + prompt}
	}
	nothing := func(c *crontab) {
		c.t.Helper()
		c.ran(nil)
		c.giveUp(0)
	}
	late := servers.NewProxy(s.t, s.Endpoints()[0])
	late.Hold()
	comes := threeMinutes(cronHost{store: s.at(late.Addr())})
	comes.job, comes.cut, comes.cutAt = 5*time.Second, late.Resume, 20*time.Second
	falling := threeMinutes(cronHost{ahead: 10 * time.Second, via: three[0].Command}, cronHost{store: s.at(cut.Addr())})
	falling.job, falling.cut, falling.cutAt = 160*time.Second, cut.Hold, 20*time.Second
	return []cronTrial{
		{"store refuses", threeMinutes(cronHost{store: s.at(refusing)}), nothing},
		{"store is silent", threeMinutes(cronHost{store: s.at(silent.Addr())}), nothing},
		{"store comes back", comes, func(c *crontab) {
			c.t.Helper()
			c.ran(map[string]int{c.tick(0, 1): 1, c.tick(0, 2): 1, c.tick(0, 3): 1})
			for _, call := range c.calls[1:] {
				c.endedWith(call, 0, 0)
			}
			if status := c.calls[0].status; status != 0 {
				c.t.Errorf("%s: %s exited with %d", c.name, c.calls[0].id, status)
			}
		}},
		{"store falls silent", falling, func(c *crontab) {
			c.t.Helper()
			c.ran(map[string]int{c.tick(0, 1): 1})
			c.endedWith(c.called("h0.1"), 0, 1)
			c.endedWith(c.called("h0.2"), 75, 1)
			c.endedWith(c.called("h0.3"), 75, 1)
			c.giveUp(1)
		}},
	}
}

// giveUp asserts that each caller of a host ended for want of a store, soon after its
// next tick was due.
func (c *crontab) giveUp(host int) {
	c.t.Helper()
	// Two looks of three seconds each, and up to two seconds before each.
	const soon = 10*time.Second + prompt
	for _, call := range c.calls {
		if call.host != host {
			continue
		}
		late := call.ended.since(c.calledAt(host, call.minute+1))
		if call.status != 69 || late < 0 || late > soon {
			c.t.Errorf("%s: %s exited with %d, %v after its next tick was due: want 69, and at most %v\n%s",
				c.name, call.id, call.status, late, soon, readFile(call.log))
		}
	}
}

// Who runs the command is killed, alone and with all that it has started, as if the
// host had lost power. One of those who wait runs it again: at once in the first case,
// after the lease in the second. Of two callers on one host one waits.
func hostsDie(s *store, three []*servers.Netns, bin string) {
	t := s.t
	t.Helper()
	e := newElection(t, s)
	ttl := s.lease(3 * time.Second)
	clock := wallClock{now(), firstMinute.Add(10 * time.Second), 1}
	// The third attempt ends by itself.
	command := append([]string{"/bin/sh", "-c", `test "$LEADERRUN_ATTEMPT" -lt 3 || set -- "$@" --exit 0 --after 500ms; exec "$@"`, "sh"}, e.child()...)
	call := func(id string, host int) *candidate {
		return e.start(spec{
			id: id, bin: bin, via: three[host].Command, ttl: ttl, env: []string{clock.variable()},
			flags: []string{"--once-per", "1h", "--log-level", "info"}, command: command,
		})
	}
	a := call("h0", 0)
	first := e.leads(a, nil)
	b, c := call("h1", 1), call("h2", 2)
	b.standsBehind(t, a.id, patient)
	c.standsBehind(t, a.id, patient)
	second := call("h1 again", 1)
	second.exits(t, 75, patient)
	if line := second.says(t, "tick skipped", 1, 0); !strings.Contains(line.get("cause"), "of this host waits") {
		t.Errorf("does not say why: %v", line)
	}
	e.goesOn(first, 0)

	a.theGuard(t)
	a.signal(t, unix.SIGKILL)
	leader, next := e.next(first, b, c)
	e.handedOver(first, next, prompt)

	waiting := c
	if leader == c {
		waiting = b
	}
	waiting.standsBehind(t, leader.id, patient)
	renewed(ttl)
	all := []int{leader.pid}
	for _, p := range append(childrenOf(t, leader.pid), treeOf(t, e.dir)...) {
		all = append(all, p.pid)
	}
	kill(t, unix.SIGSTOP, all...)
	kill(t, unix.SIGKILL, all...)
	last := e.leads(waiting, next)
	e.handedOver(next, last, s.takeover(ttl))
	waiting.exits(t, 0, patient)
	if records := e.recorded(supervisor.TicksValue); len(records) != 1 || records[0].State != supervisor.StateFinished || records[0].Attempt != 3 {
		t.Errorf("recorded: %+v, want one tick, finished in attempt 3", records)
	}
}
