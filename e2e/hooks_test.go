//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// expand puts a command in the place of {child}.
func expand(text, command string) string { return strings.ReplaceAll(text, "{child}", command) }

// hooks are the flags for both hooks, each of which beats for a while and then notes
// its name and cause.
func (e *election) hooks() []string {
	note := func(role string) string {
		return fmt.Sprintf(`%s && echo "%s $LEADERRUN_CAUSE" >>%s/hooks`, e.beats(role, "--life", "200ms"), role, e.dir)
	}
	return []string{"--on-elected", note(roleElected), "--on-lost", note(roleLost)}
}

// hooked returns what the hooks have noted.
func (e *election) hooked() []string {
	return strings.FieldsFunc(readFile(filepath.Join(e.dir, "hooks")), func(r rune) bool { return r == '\n' })
}

// ranHooks asserts the causes of a tenure's --on-lost, after its --on-elected.
func (e *election) ranHooks(lostBecause string) {
	e.t.Helper()
	want := []string{roleElected + " elected", roleLost + " " + lostBecause}
	if got := e.hooked(); !slices.Equal(got, want) {
		e.t.Errorf("the hooks were run as %q, want %q", got, want)
	}
}

// The hooks of a tenure run before its child starts and after its tree is dead,
// however it ends, and are told why.
func TestHooks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		child  []string
		flags  []string
		told   bool
		status int // -1: it campaigns again
		cause  string
		stores func(*testing.T, func(*store))
	}{
		{"told", nil, nil, true, 128 + 15, "received SIGTERM", eachStore},
		{"told, wild", []string{"--ignore-term"}, []string{"--stop-timeout", "200ms"}, true, 128 + 9, "killed: did not stop in time", two},
		{"ended", []string{"--exit", "0", "--after", "600ms"}, nil, false, 0, "ended by itself", two},
		{
			"gave up",
			[]string{"--exit", "7", "--after", "600ms"},
			[]string{"--restart", "on-failure", "--restart-limit", "1"},
			false, -1,
			"the command failed 1 times in a row, the last time with status 7", two,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.stores(t, func(s *store) {
				t := s.t
				t.Parallel()
				e := newJobs(t, s)
				command := e.child(append(c.child, "--fork", "--daemon")...)
				a, b, first := e.pair(spec{command: command, flags: slices.Concat(e.hooks(), c.flags)}, spec{}, everyRole...)
				if c.told {
					a.signal(t, unix.SIGTERM)
				}
				second := e.leads(b, first)
				if c.status >= 0 {
					a.exits(t, c.status, patient)
				}
				e.ranHooks(c.cause)
				e.handedOver(first, second, prompt)
				elected, lost := e.lives(roleElected), e.lives(roleLost)
				if len(elected) != 1 || len(lost) != 1 {
					t.Fatalf("%d and %d hooks, want one each", len(elected), len(lost))
				}
				for _, l := range e.lives("main", "fork", "daemon") {
					if l.token == first.token && (l.at <= elected[0].last || l.last >= lost[0].at) {
						t.Errorf("%s lived %v before --on-elected ended, or until %v after --on-lost began",
							l.role, elected[0].last.since(l.at), l.last.since(lost[0].at))
					}
				}
				if len(a.said(hookFailed))+len(a.said(hookSkipped)) != 0 {
					t.Errorf("a hook failed: %v", a.logs())
				}
			})
		})
	}
}

// An --on-elected that fails, or never ends, starts no child: another host leads,
// within --hook-timeout.
func TestOnElectedFails(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	for _, c := range []struct {
		name, hook string
		limit      time.Duration
		why        string
	}{
		{"fails", "exit 3", 0, "--on-elected ended with status 3"},
		{"never ends", "setsid {child} --role session & exec {child}", timeout, "--on-elected did not end within 1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachStore(t, func(s *store) {
				t := s.t
				t.Parallel()
				e := newJobs(t, s)
				before := e.start(spec{id: "c"})
				last := e.leads(before, nil)
				a := e.start(spec{id: "a", flags: []string{
					"--on-elected", expand(c.hook, e.beats(roleElected, "--ignore-term")), "--hook-timeout", timeout.String(),
				}})
				a.standsBehind(t, "c", patient)
				b := e.start(spec{id: "b"})
				b.standsBehind(t, "c", patient)
				before.signal(t, unix.SIGTERM)
				second := e.leads(b, last)
				gap := second.first.since(last.last)
				if gap > c.limit+prompt || gap < c.limit {
					t.Errorf("another led after %v, want %v and a little", gap, c.limit)
				}
				if line := a.says(t, hookFailed, 1, prompt); line.get("level") != "ERROR" || line.get("cause") != c.why {
					t.Errorf("says %v, want %q at error", line, c.why)
				}
				a.says(t, standingBack, 1, prompt)
				if n := len(a.said(childStarted)); n != 0 {
					t.Errorf("%d children were started", n)
				}
			})
		})
	}
}

// A job whose --on-elected fails has not been started: another host does, as the first
// attempt.
func TestOnElectedFailsJob(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		e.ends("0")
		flags := []string{"--on-elected", "[ $LEADERRUN_CANDIDATE = b ]", "--attempts", "1"}
		a := e.once("a", append(flags, verbose...)...)
		a.says(t, standingBack, 1, patient)
		b := e.once("b", flags...)
		b.exits(t, 0, patient)
		b.saysOnly(t, "")
		a.exits(t, 0, patient)
		e.started(1)
	})
}

// Once the lock is gone, --on-lost would undo what the next leader's --on-elected does.
func TestOnLostSkipped(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		a, b, first := e.pair(spec{command: e.wild(), flags: e.hooks()}, spec{}, everyRole...)
		fault := now()
		s.breakages[0].do(e)
		e.leads(b, first)
		e.diedAtOnce(first, fault)
		if line := a.says(t, hookSkipped, 1, prompt); line.get("level") != "ERROR" || line.get("cause") == "" {
			t.Errorf("does not say at error why: %v", line)
		}
		if got := e.hooked(); len(got) != 1 {
			t.Errorf("the hooks run were %q", got)
		}
	})
}

// While renewals fail, --on-lost runs if the lease outlives its time budget, and else
// is skipped.
func TestOnLostInTime(t *testing.T) {
	t.Parallel()
	t.Run("in time", func(t *testing.T) {
		eachNetworkStore(t, func(n network) {
			t := n.t
			t.Parallel()
			const timeout = 500 * time.Millisecond
			e, a := cutWithHooks(t, n.kind, "0s", timeout)
			if skipped := a.said(hookSkipped); len(skipped) > 0 { // the machine was slow, or else it is wrong
				if left, err := time.ParseDuration(skipped[0].get("left")); err != nil || left >= timeout {
					t.Errorf("skipped with enough time: %v", skipped)
				}
				return
			}
			e.ranHooks("renewals fail")
		})
	})
	t.Run("too late", func(t *testing.T) {
		t.Parallel()
		e, a := cutWithHooks(t, etcdKind, "300ms", cutGrace)
		if line := a.says(t, hookSkipped, 1, prompt); line.get("level") != "ERROR" || line.get("left") == "" {
			t.Errorf("does not say at error how little is left: %v", line)
		}
		if got := e.hooked(); len(got) != 1 {
			t.Errorf("the hooks run were %q", got)
		}
	})
}

const cutGrace = 1500 * time.Millisecond

// cutWithHooks cuts a leader with hooks off from its store until its tenure is over. Its
// child dies so long after it was told to stop.
func cutWithHooks(t *testing.T, k *kind, dies string, timeout time.Duration) (*election, *candidate) {
	t.Helper()
	s := shared(t, k)
	ttl := s.lease(5 * time.Second)
	proxy := servers.NewProxy(t, s.Endpoints()[0])
	e := newJobs(t, s)
	a := e.start(spec{
		id: "a", ttl: ttl, store: s.at(proxy.Addr()), command: e.tame("--term-exit", "0", "--after", dies, "--fork", "--daemon"),
		flags: slices.Concat(e.hooks(), []string{"--loss-grace", cutGrace.String(), "--hook-timeout", timeout.String()}),
	})
	first := e.leads(a, nil, everyRole...)
	renewed(ttl)
	proxy.Hold()
	fault := now()
	waitFor(t, "--on-lost to be run or skipped", ttl+prompt, func() bool {
		return len(e.hooked()) == 2 || len(a.said(hookSkipped))+len(a.said(hookFailed)) > 0
	})
	e.diedInTime(first, fault, ttl)
	proxy.Resume()
	return e, a
}

// A hook is dead at the deadline, and at once when its supervisor is killed.
func TestHookDies(t *testing.T) {
	t.Parallel()
	hang := func(e *election) string {
		command := e.beats(roleElected, "--ignore-term")
		return "setsid " + e.beats("session", "--ignore-term") + " & " + command + "; " + command
	}
	t.Run("supervisor killed", func(t *testing.T) {
		for name, flag := range map[string]string{"elected": "--on-elected", "lost": "--on-lost"} {
			t.Run(name, func(t *testing.T) {
				eachStore(t, func(s *store) {
					t := s.t
					t.Parallel()
					e := newJobs(t, s)
					a := e.start(spec{id: "a", command: e.child("--exit", "0", "--after", "300ms"), flags: []string{flag, hang(e)}})
					first := e.hookBeats(a)
					b := e.start(spec{id: "b"})
					fault := now()
					a.signal(t, unix.SIGKILL)
					second := e.leads(b, first)
					e.diedAtOnce(first, fault)
					e.handedOver(first, second, prompt)
				})
			})
		}
	})
	t.Run("deadline", func(t *testing.T) {
		eachNetworkStore(t, func(n network) {
			t, s := n.t, shared(n.t, n.kind)
			t.Parallel()
			ttl := s.lease(3 * time.Second)
			proxy := servers.NewProxy(t, s.Endpoints()[0])
			e := newJobs(t, s)
			a := e.start(spec{
				id: "a", ttl: ttl, store: s.at(proxy.Addr()), flags: []string{"--on-elected", hang(e), "--hook-timeout", "1m", "--stop-timeout", "1m"},
			})
			first := e.hookBeats(a)
			b := e.start(spec{id: "b", ttl: ttl})
			b.standsBehind(t, "a", patient)
			renewed(ttl)
			proxy.Hold()
			fault := now()
			e.diedInTime(first, fault, ttl)
			e.handedOver(first, e.leads(b, first), s.takeover(ttl))
			proxy.Resume()
		})
	})
}

// hookBeats waits until a hook of the candidate and what it has forked beat.
func (e *election) hookBeats(c *candidate) (n *tenure) {
	e.t.Helper()
	waitFor(e.t, "a hook of "+c.id, patient, func() bool {
		n = e.of(c)
		return n != nil && n.roles[roleElected] != 0 && n.roles["session"] != 0
	})
	e.beatsAgain(n)
	return n
}

// TERM and again TERM, at each point: before the child, while it does not end, and
// while --on-lost runs, which the first does not disturb.
func TestHooksToldToStop(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		t.Run("elected", func(t *testing.T) {
			e := newJobs(t, s.in(t))
			a := e.start(spec{id: "a", flags: []string{
				"--on-elected", "exec " + e.beats(roleElected, "--log-signals", e.signals, "--ignore-term"), "--hook-timeout", "1m", "--stop-timeout", "1m",
			}})
			waitFor(t, "the hook", patient, func() bool { return e.of(a) != nil })
			a.signal(t, unix.SIGTERM)
			waitFor(t, "the hook to be told", patient, func() bool { return len(e.signalsReceived()) > 0 })
			a.signal(t, unix.SIGTERM)
			a.exits(t, 128+15, prompt)
			if n := len(a.said(childStarted)); n != 0 {
				t.Errorf("%d children were started", n)
			}
		})
		t.Run("child", func(t *testing.T) {
			e := newJobs(t, s.in(t))
			command := e.child("--ignore-term", "--log-signals", e.signals)
			a := e.start(spec{id: "a", command: command, flags: append(e.hooks(), "--stop-timeout", "1m")})
			e.leads(a, nil)
			a.signal(t, unix.SIGTERM)
			waitFor(t, "the child to be told", patient, func() bool { return len(e.signalsReceived()) > 0 })
			a.signal(t, unix.SIGTERM)
			a.exits(t, 128+9, prompt)
			e.ranHooks("killed: did not stop in time")
		})
		t.Run("lost", func(t *testing.T) {
			for _, times := range []int{1, 2} {
				e := newJobs(t, s.in(t))
				hook := fmt.Sprintf("%s; echo done >>%s/hooks", e.beats(roleLost, "--life", "1s", "--log-signals", e.signals), e.dir)
				a := e.start(spec{id: "a", command: e.child("--exit", "4", "--after", "300ms"), flags: []string{"--on-lost", hook}})
				waitFor(t, "the hook", patient, func() bool { return len(e.lives(roleLost)) == 1 })
				begin := now()
				for range times {
					a.signal(t, unix.SIGTERM)
					pass(50 * time.Millisecond) // or they become one
				}
				a.exits(t, 4, patient)
				if took, finished := now().since(begin), len(e.hooked()) == 1; finished != (times == 1) {
					t.Errorf("%d times told to stop, --on-lost finished: %v, after %v", times, finished, took)
				}
				if got := e.signalsReceived(); len(got) != 0 {
					t.Errorf("--on-lost got %v", got)
				}
			}
		})
	})
}

// Hooks read nothing, and know what the child knows.
func TestHooksSurroundings(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	hook := fmt.Sprintf(`{ readlink /proc/self/fd/0; echo "$LEADERRUN_ELECTION $LEADERRUN_CANDIDATE $X"; } >>%s/hooks`, e.dir)
	a := e.start(spec{id: "a", command: e.child("--exit", "0"), env: []string{"X=y"}, flags: []string{"--on-elected", hook, "--on-lost", hook}})
	a.exits(t, 0, patient)
	once := []string{"/dev/null", e.name + " a y"}
	if got := e.hooked(); !slices.Equal(got, slices.Concat(once, once)) {
		t.Errorf("the hooks found %q, want twice %q", got, once)
	}
}

// Who has nothing to do runs no hooks: a later caller, and one who waited.
func TestHooksNotRunForNothing(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		start := func(id string) *candidate {
			return e.start(spec{id: id, command: e.job(), flags: slices.Concat(e.hooks(), verbose, []string{"--once-per", "@yearly"})})
		}
		a := start("a")
		e.run(1)
		b := start("b")
		b.standsBehind(t, "a", patient)
		e.ends("0")
		a.exits(t, 0, patient)
		b.exits(t, 0, patient)
		start("c").exits(t, 0, patient)
		e.ranHooks("ended by itself")
		e.started(1)
	})
}
