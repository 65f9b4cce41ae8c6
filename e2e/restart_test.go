//go:build linux

package e2e

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// restartPause is the one before the nth restart in a row, counted from nought.
func restartPause(n int) time.Duration { return 250 * time.Millisecond << n }

// --restart says after which ends the child is started again, in the same tenure and
// after pauses that double.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, policy string
		ends         string
		starts       int
		status       int // -1 to be told to stop after that many starts
	}{
		{"no", "no", "3", 1, 3},
		{"on failure, well", "on-failure", "0", 1, 0},
		{"on failure", "on-failure", "3 K 4 0", 4, 0},
		{"always", "always", "0 3 0", 4, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			two(t, func(s *store) {
				t := s.t
				t.Parallel()
				e := newJobs(t, s)
				e.ends(c.ends)
				a := e.start(spec{id: "a", command: e.job(), flags: []string{"--restart", c.policy}})
				e.run(c.starts)
				if c.status < 0 {
					a.signal(t, unix.SIGTERM)
					a.exits(t, 128+15, patient)
				} else {
					a.exits(t, c.status, patient)
				}
				runs := e.jobStarts()
				if len(runs) != c.starts || len(a.said(elected)) != 1 {
					t.Fatalf("%d starts in %d tenures, want %d in one", len(runs), len(a.said(elected)), c.starts)
				}
				for n, r := range runs[1:] {
					if took := r.at.Sub(runs[n].at); took < restartPause(n) || took > restartPause(n)+jobTime+prompt {
						t.Errorf("restart %d came %v after the start before, want a pause of %v", n+1, took, restartPause(n))
					}
				}
			})
		})
	}
}

// A child that fails at once again and again: after --restart-limit failures another
// host leads, within the pauses and what its starts and a release take. The one who
// gave up stands back until nobody leads.
func TestRestartLimit(t *testing.T) {
	t.Parallel()
	const limit = 3
	eachStore(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		e.put("end.a", "7")
		flags := []string{"--restart", "on-failure", "--restart-limit", "3"}
		c := e.start(spec{id: "c"})
		e.leads(c, nil)
		a := e.start(spec{id: "a", command: e.job("--fork", "--daemon"), flags: flags})
		a.standsBehind(t, "c", patient)
		b := e.start(spec{id: "b", command: e.job(), flags: flags})
		b.standsBehind(t, "c", patient)
		c.signal(t, unix.SIGTERM)

		second := e.run(limit + 1)
		pauses := restartPause(0) + restartPause(1)
		bound := pauses + limit*jobTime + prompt
		if took := second.at.Sub(e.run(1).at); second.candidate != "b" || took < pauses || took > bound {
			t.Errorf("after %v %s leads, want b after %v to %v", took, second.candidate, pauses, bound)
		}
		if n := len(a.said(restarting)); n != limit-1 {
			t.Errorf("restarted %d times, want %d", n, limit-1)
		}
		if line := a.says(t, givingUp, 1, prompt); line.get("cause") == "" {
			t.Errorf("does not say why it gave up: %v", line)
		}
		a.says(t, standingBack, 1, prompt)
		staysTrue(t, "a does not campaign", time.Second, func() bool { return len(a.said(campaigning)) == 1 })
		b.signal(t, unix.SIGKILL)
		a.says(t, campaigning, 2, backSoon)
	})
}

// backSoon is when somebody who stood back leads again if nobody else does: it looks
// three times, 0.7 s apart at most.
const backSoon = 3*700*time.Millisecond + prompt

// Where nobody else stands by, who gave up leads again soon.
func TestRestartLimitAlone(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		e.ends("7")
		a := e.start(spec{id: "a", command: e.job(), flags: []string{"--restart", "always", "--restart-limit", "1"}})
		for n := 1; n < 3; n++ {
			first, again := e.run(n), e.run(n+1)
			if took := again.at.Sub(first.at); took > jobTime+backSoon || took < time.Second {
				t.Errorf("led again after %v, want the time of three looks", took)
			}
		}
		a.signal(t, unix.SIGTERM)
		waitFor(t, "a to end", patient, a.ended)
	})
}

// While somebody else leads, who gave up stands back for half a minute.
func TestStandBack(t *testing.T) {
	t.Parallel()
	const coolDown = 30 * time.Second
	e := newJobs(t, fileStore(t))
	e.put("end.a", "7")
	flags := []string{"--restart", "always", "--restart-limit", "1"}
	a := e.start(spec{id: "a", command: e.job(), flags: flags})
	a.says(t, standingBack, 1, patient)
	begin := now()
	b := e.start(spec{id: "b", command: e.job(), flags: flags})
	leading := e.leads(b, nil)
	a.says(t, campaigning, 2, coolDown+prompt)
	if took := now().since(begin); took < coolDown-prompt {
		t.Errorf("stood back for %v, want %v", took, coolDown)
	}
	a.standsBehind(t, "b", patient)
	e.goesOn(leading, 100*time.Millisecond)
	a.signal(t, unix.SIGTERM)
	a.exits(t, 128+15, patient)
}
