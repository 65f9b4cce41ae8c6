//go:build linux

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// Each place is a host of its own kind.
const (
	distantPlace = 1 // behind a cable, whose packets can be lost
	jumpyPlace   = 2 // the wall's clock is stepped all the time
)

// A place is where one candidate after the other runs.
type place struct {
	*candidate
	number  int
	proxies []*servers.Proxy // one for each node of the store
	ns      *servers.Netns   // of the distant place
	crowd   *crowd           // of its --listen
	started int
	stepped []fault // the clock, so far
}

func (c *chaos) newPlace(number int) *place {
	p := &place{number: number, crowd: startCrowd(c.crowd)}
	c.t.Cleanup(p.crowd.stop)
	if !c.store.isFile() {
		host := "127.0.0.1"
		if number == distantPlace {
			p.ns = servers.NewNetns(c.t)
			host = p.ns.Addr()
		}
		for _, endpoint := range c.store.Endpoints() {
			p.proxies = append(p.proxies, servers.NewProxyAt(c.t, host, endpoint))
		}
	}
	c.fill(p)
	return p
}

// fill starts the next candidate at a place.
func (c *chaos) fill(p *place) {
	child := c.plan.child(p.number, p.started)
	p.started++
	s := spec{
		id: fmt.Sprintf("p%d-%d", p.number, p.started), ttl: c.ttl, command: child.command(c.election),
		flags: slices.Concat(littleGrace, []string{"--stop-timeout", "1s"}, listening),
	}
	if len(p.proxies) > 0 {
		var endpoints []string
		for _, proxy := range p.proxies {
			endpoints = append(endpoints, proxy.Addr())
		}
		s.store = c.store.at(endpoints...)
	}
	if p.ns != nil {
		s.via = p.ns.Command
		s.flags = append(s.flags, "--listen", p.ns.InnerAddr()+":0")
	}
	var steps []clockStep
	if p.number == jumpyPlace {
		steps = c.clockSteps(p.started)
		s.bin, s.env = jumpyBin(c.t), []string{clockEnv + "=" + inEnvironment(steps)}
	}
	p.crowd.address.Store("")
	if p.candidate != nil {
		c.endSteps(p)
		p.destroy(c.t)
	}
	p.candidate = c.start(s)
	for _, step := range steps {
		p.stepped = append(p.stepped, fault{kind: wallStepped, from: step.at, to: step.at, hits: []string{p.id}})
	}
}

// callCrowd sends the slow clients to where the candidate listens.
func (p *place) callCrowd() {
	if lines := p.said("listening"); len(lines) > 0 && p.crowd.address.Load() == "" {
		p.crowd.address.Store(lines[0].get("address"))
	}
}

// endSteps forgets the steps that the candidate did not live to see.
func (c *chaos) endSteps(p *place) {
	p.stepped = slices.DeleteFunc(p.stepped, func(f fault) bool { return f.from > now() })
}

// seeGuard remembers the candidate's guard, if it has one.
func (p *place) seeGuard(t testing.TB) {
	t.Helper()
	if p.guard != 0 && isGuardOf(p.guard, p.pid) {
		return
	}
	for _, child := range childrenOf(t, p.pid) {
		if isGuard(child) {
			p.guard = child.pid
		}
	}
}

func isGuardOf(pid, supervisor int) bool {
	proc, ok := readProc(pid)
	return ok && proc.ppid == supervisor && isGuard(proc)
}

// processes are handles of what a fault is to hit. A number could be another's by
// the time a signal is sent: storms go through all numbers in half a minute.
func (p *place) processes(t testing.TB, supervisor, guard bool) []*os.Process {
	t.Helper()
	var pids []int
	p.seeGuard(t)
	if guard && isGuardOf(p.guard, p.pid) {
		pids = append(pids, p.guard)
	}
	if supervisor {
		pids = append(pids, p.pid)
	}
	var handles []*os.Process
	for _, pid := range pids {
		h, err := os.FindProcess(pid)
		must(t, err)
		if got, ok := readProc(pid); ok && (isLeaderrun(got) || strings.Contains(got.args[0], "nsenter")) {
			handles = append(handles, h)
		}
	}
	return handles
}

// stopAll ends every candidate as an operator would, and notes what outlives that.
func (c *chaos) stopAll() {
	for _, p := range c.places {
		c.endSteps(p)
		p.signal(c.t, unix.SIGTERM)
	}
	for _, p := range c.places {
		if !poll(patient, p.ended) {
			c.t.Errorf("%s did not end when told to", p.id)
		}
		c.ledger.look(c.t, p.candidate)
	}
	// A guard that was left alone gives back what it can first.
	poll(patient, func() bool {
		c.trial.left = c.running()
		return len(c.trial.left) == 0
	})
}

// running is all that this election has left: children, shells, leaderruns.
func (c *chaos) running() []proc {
	c.t.Helper()
	return slices.DeleteFunc(processes(c.t), func(p proc) bool {
		return !strings.Contains(strings.Join(p.args, "\x00"), c.dir)
	})
}
