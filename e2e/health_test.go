//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	healthInterval = 700 * time.Millisecond
	healthRetries  = 2
	stopTimeout    = time.Second
	// unhealthyBound is how long after the moment from which checks fail another leads
	// at the latest, if the child was healthy once: it may just have been checked, and
	// ignores the stop signal. The checks are not at once on a loaded machine, nor is the
	// election.
	unhealthyBound = healthInterval + healthRetries*healthInterval + stopTimeout + 2*prompt
)

// checkEvery are the flags for a check.
func checkEvery(command string, interval time.Duration) []string {
	return []string{
		"--health-command", command, "--health-interval", interval.String(),
		"--health-retries", strconv.Itoa(healthRetries), "--stop-timeout", stopTimeout.String(),
	}
}

// An unhealthy child: another host leads within a bound that follows from the flags.
func TestUnhealthy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		sick string // what the check then does
		why  string // words of the log
	}{
		{"fails", "exit 3", "status 3"},
		{"killed", "kill -9 $$", "status 137"},
		{"hangs", "exec sleep 1000", "did not end within"},
		{"hangs and forks", "{child} & trap '' TERM; while :; do sleep 1000; done", "did not end within"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := func(s *store) {
				t := s.t
				t.Parallel()
				e := newJobs(t, s)
				sick := expand(c.sick, e.beats(roleCheck, "--ignore-term"))
				check := fmt.Sprintf("echo >>%[1]s/checks; [ ! -e %[1]s/sick.$LEADERRUN_CANDIDATE ] || { %[2]s; }", e.dir, sick)
				flags := checkEvery(check, healthInterval)
				a, b, first := e.pair(spec{command: e.wild(), flags: flags}, spec{command: e.wild(), flags: flags}, everyRole...)
				waitFor(t, "a check", patient, func() bool { return readFile(e.dir+"/checks") != "" })
				e.goesOn(first, 2*healthInterval)
				e.put("sick.a", "")
				fault := now()
				second := e.leads(b, first, everyRole...)
				if steady.ran(fault, second.first) > unhealthyBound {
					t.Errorf("another led after %v, want at most %v", second.first.since(fault), unhealthyBound)
				}
				e.handedOver(first, second, prompt)
				failures, told := a.said(checkFailed), false
				for n, line := range failures[max(0, len(failures)-healthRetries):] {
					told = told || strings.Contains(line.get("cause"), c.why) // on a loaded machine each may hang
					if line.get("failures") != strconv.Itoa(n+1) {
						t.Errorf("failure %d is told as %v", n+1, line)
					}
				}
				if len(failures) < healthRetries || !told {
					t.Errorf("want %d failed checks, told with %q: %v", healthRetries, c.why, failures)
				}
				a.says(t, givingUp, 1, prompt)
				e.goesOn(second, 2*healthInterval)
				var before life
				for _, l := range e.lives(roleCheck) {
					if l.at <= before.last {
						t.Errorf("a check began %v before the last beat of the one before", before.last.since(l.at))
					}
					before = l
				}
			}
			if c.name == "fails" {
				eachStore(t, body)
			} else {
				two(t, body)
			}
		})
	}
}

// A job that becomes unhealthy is interrupted, and run again by somebody else.
func TestUnhealthyJob(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		check := fmt.Sprintf("echo >>%[1]s/checks; [ ! -e %[1]s/sick.$LEADERRUN_CANDIDATE ]", e.dir)
		flags := slices.Concat(checkEvery(check, healthInterval), verbose)
		a := e.once("a", flags...)
		e.run(1)
		b := e.once("b", flags...)
		b.standsBehind(t, "a", patient)
		waitFor(t, "a check", patient, func() bool { return readFile(e.dir+"/checks") != "" })
		e.put("sick.a", "")
		if second := e.run(2); second.candidate != "b" || second.attempt != 2 {
			t.Errorf("the second run is %v, want b's", second)
		}
		if line := a.says(t, tickEnded, 1, prompt); line.get("state") != "interrupted" {
			t.Errorf("its end is told as %v", line)
		}
		e.ends("0")
		b.exits(t, 0, patient)
		a.exits(t, 0, patient)
		e.started(2)
	})
}

// One failure between successes is none.
func TestHealthyAgain(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	check := fmt.Sprintf("echo >>%[1]s/checks; [ $(($(wc -l <%[1]s/checks) %% 2)) = 1 ]", e.dir)
	a := e.start(spec{id: "a", command: e.tame(), flags: checkEvery(check, healthInterval)})
	n := e.leads(a, nil)
	a.says(t, checkFailed, 3, patient)
	e.goesOn(n, healthInterval)
}

// Until a child was healthy once, its checks may fail for 30 seconds.
func TestHealthStartPeriod(t *testing.T) {
	t.Parallel()
	const startPeriod = 30 * time.Second
	e := newElection(t, fileStore(t))
	a, b, first := e.pair(spec{command: e.wild(), flags: checkEvery("exit 1", healthInterval)}, spec{}, everyRole...)
	staysTrue(t, "failures do not count", 5*time.Second, func() bool { return !a.ended() && len(a.said(checkFailed)) == 0 })
	waitFor(t, "the other to lead", startPeriod+unhealthyBound, func() bool { return e.of(b) != nil })
	second := e.of(b)
	if took := second.first.since(first.first); took < startPeriod || took > startPeriod+unhealthyBound {
		t.Errorf("another led after %v, want %v to %v", took, startPeriod, startPeriod+unhealthyBound)
	}
	e.handedOver(first, second, prompt)
}

// What a check has started is part of the tree: it dies with it, in whatever session
// it is, when the tenure is lost, the supervisor killed or the child has ended.
func TestCheckDiesWithTheTree(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(e *election, a *candidate, n *tenure)
	}{
		{"lost", func(e *election, _ *candidate, _ *tenure) { e.store.breakages[0].do(e) }},
		{"supervisor killed", func(e *election, a *candidate, _ *tenure) { a.signal(e.t, unix.SIGKILL) }},
		{"child ended", func(e *election, _ *candidate, n *tenure) { kill(e.t, unix.SIGKILL, n.mains...) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := func(s *store) {
				t := s.t
				t.Parallel()
				e := newElection(t, s)
				check := fmt.Sprintf("setsid %s & exec %s", e.beats("session", "--ignore-term"), e.beats(roleCheck, "--ignore-term"))
				a, b, first := e.pair(spec{command: e.child(), flags: checkEvery(check, 3*time.Second)}, spec{}, "session", roleCheck)
				fault := now()
				c.do(e, a, first)
				second := e.leads(b, first)
				e.diedAtOnce(first, fault)
				e.handedOver(first, second, prompt)
			}
			if c.name == "lost" {
				eachStore(t, body)
			} else {
				two(t, body)
			}
		})
	}
}
