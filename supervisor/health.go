//go:build unix

package supervisor

import (
	"fmt"
	"time"

	"leaderrun/supervisor/guard"
)

// Health is a command that says by its exit status whether the child is well, for
// /bin/sh -c; the zero Health is none.
type Health struct {
	Command  string
	Interval time.Duration // from one check to the next; what takes longer has failed
	Retries  int           // failures in a row that make the child unhealthy
}

// startPeriod is how long failures of a child that was never healthy do not count.
const startPeriod = 30 * time.Second

// A probe is the health of one child; nil where nobody asks.
type probe struct {
	variables []string
	ticker    *time.Ticker
	statuses  chan int
	began     time.Time
	running   bool // a check
	healthy   bool // once
	failures  int  // in a row
}

func (t *tenure) newProbe(variables []string) *probe {
	if t.Health.Command == "" {
		return nil
	}
	return &probe{
		variables: variables, ticker: time.NewTicker(t.Health.Interval), statuses: make(chan int, 1), began: time.Now(),
	}
}

func (t *tenure) endProbe() {
	if t.probe != nil {
		t.probe.ticker.Stop()
	}
	t.probe = nil
}

// due receives when it is time for the next check.
func (p *probe) due() <-chan time.Time {
	if p == nil {
		return nil
	}
	return p.ticker.C
}

// ended receives the exit status of a check.
func (p *probe) ended() <-chan int {
	if p == nil {
		return nil
	}
	return p.statuses
}

// check starts one, and counts the one before as failed if it has not ended.
func (t *tenure) check() {
	p := t.probe
	select {
	case status := <-p.statuses:
		t.checked(status)
	default:
	}
	if p.running {
		t.guard.EndCheck()
		p.running = false
		t.unwell(fmt.Sprintf("it did not end within %v", t.Health.Interval))
	}
	if t.told != 0 || t.losing || t.givingUp {
		return
	}
	p.running = true
	t.guard.Check(guard.Command{Shell: t.Health.Command, Env: append(t.Env(t.lease.Token()), p.variables...)}, func(status int) {
		offer(p.statuses, status)
	})
}

func (t *tenure) checked(status int) {
	t.probe.running = false
	if status == 0 {
		t.probe.healthy, t.probe.failures = true, 0
		return
	}
	t.unwell(fmt.Sprintf("it ended with status %d", status))
}

// unwell counts a failed check.
func (t *tenure) unwell(why string) {
	p := t.probe
	if !p.healthy && time.Since(p.began) < startPeriod {
		return
	}
	p.failures++
	t.Listen(Event{Kind: Unhealthy, Token: t.lease.Token(), Attempt: p.failures, Cause: why})
	if p.failures >= t.Health.Retries && t.told == 0 && !t.losing && !t.givingUp {
		t.giveUp(fmt.Sprintf("the command is unhealthy: --health-command failed %d times in a row", p.failures))
		t.stop(t.StopSignal, t.cause)
	}
}
