//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// /leader is true for whoever's command runs and may go on, and for nobody else: not
// for a standby, not while the command is being stopped. Both are well, says /healthz.
func TestLeaderAnswers(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newElection(t, s)
		a, b, first := e.pair(
			spec{flags: append([]string{"--stop-timeout", "2s"}, listening...), command: e.wild()}, spec{flags: listening})
		a.answers(t, "/leader", http.StatusOK, prompt)
		if status, body := get(b.address(t), "/leader"); status != http.StatusServiceUnavailable || body != "not leading\n" {
			t.Errorf("a standby answers %d %q", status, body)
		}
		for _, c := range []*candidate{a, b} {
			c.answers(t, "/healthz", http.StatusOK, prompt)
		}
		a.signal(t, unix.SIGTERM)
		body := a.answers(t, "/leader", http.StatusServiceUnavailable, prompt)
		if !strings.Contains(body, "being stopped") {
			t.Errorf("says %q of a command that is being stopped", body)
		}
		if !e.beating(first) {
			t.Error("it was dead before /leader said no")
		}
		e.leads(b, first)
		b.answers(t, "/leader", http.StatusOK, prompt)
	})
}

// The store goes away: /leader turns with the stop signal, while candidates that try to
// reach the store again are well.
func TestLeaderAnswersWithoutStore(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t := n.t
		t.Parallel()
		s := own(t, n.kind, serverOptions{})
		ttl := s.lease(4 * time.Second)
		e := newElection(t, s)
		a := e.start(spec{id: "a", ttl: ttl, flags: listening, command: e.wild()})
		first := e.leads(a, nil)
		renewed(ttl)
		must(t, s.Pause(0))
		fault := now()
		a.answers(t, "/leader", http.StatusServiceUnavailable, ttl)
		e.diedInTime(first, fault, ttl)
		if failures, _ := a.metric(t, "leaderrun_renewal_failures_total"); failures == 0 {
			t.Error("no renewal has failed")
		}
		staysTrue(t, "a is well, though not leading", leastSilence+time.Second, func() bool {
			well, _ := get(a.address(t), "/healthz")
			leads, _ := get(a.address(t), "/leader")
			return well == http.StatusOK && leads == http.StatusServiceUnavailable
		})
		must(t, s.Resume(0))
		e.leads(a, first)
		a.answers(t, "/leader", http.StatusOK, prompt)
		a.counts(t, 1, "leaderrun_tenures_ended_total", `cause="lost"`)
	})
}

// Who leads and who stands by is well also when nothing happens for long.
func TestQuietIsWell(t *testing.T) {
	t.Parallel()
	const ttl = 10 * time.Second
	eachStore(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newElection(t, s)
		a, b, _ := e.pair(spec{ttl: ttl, flags: listening}, spec{ttl: ttl, flags: listening})
		for _, c := range []*candidate{a, b} {
			c.answers(t, "/healthz", http.StatusOK, prompt)
		}
		staysTrue(t, "both are well", leastSilence+2*time.Second, func() bool {
			one, _ := get(a.address(t), "/healthz")
			other, _ := get(b.address(t), "/healthz")
			return one == http.StatusOK && other == http.StatusOK
		})
	})
}

// leastSilence is after how long without a sign of life /healthz says no.
const leastSilence = 20 * time.Second

// A supervisor that wakes after its deadline does not say yes to who asked meanwhile,
// and is not well: nothing has gone on.
func TestFrozenAnswers(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	s := fileStore(t)
	e := newElection(t, s)
	a, b, first := e.pair(spec{ttl: ttl, flags: listening}, spec{ttl: ttl, flags: listening})
	a.answers(t, "/leader", http.StatusOK, prompt)
	address := a.address(t)
	fault := freeze(t, a.pid)
	c, err := net.Dial("tcp", address)
	must(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET /leader HTTP/1.1\r\nHost: a\r\n\r\n")
	must(t, err)
	e.diedInTime(first, fault, ttl)
	second := e.leads(b, first)
	kill(t, unix.SIGCONT, a.pid)
	must(t, c.SetDeadline(time.Now().Add(patient)))
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	must(t, r.Body.Close())
	if r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("woke up and answered %s", r.Status)
	}
	if !r.Close {
		t.Error("the connection is kept: more requests would come by it than connections are let in")
	}
	a.standsBehind(t, "b", patient)
	b.counts(t, float64(second.token), "leaderrun_fencing_token")
}

// What the metrics tell agrees with what was done, is in the form that Prometheus'
// own checker wants, and bears the labels.
func TestMetricsTell(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	s := shared(t, etcdKind)
	e := newJobs(t, s)
	flags := append([]string{"--label", "zone=a\"b\\c", "--restart", "on-failure"}, listening...)
	a := e.start(spec{id: "a", ttl: ttl, flags: flags, command: e.job()})
	e.ends("3")
	e.run(2)
	e.holds()
	a.counts(t, 1, "leaderrun_takeovers_total", `cause="first"`)
	first := e.run(len(e.jobStarts())) // goes on
	restarts, _ := a.metric(t, "leaderrun_child_restarts_total")
	starts, _ := a.metric(t, "leaderrun_child_starts_total")
	exits, _ := a.metric(t, "leaderrun_child_exits_total", `status="3"`)
	if restarts < 1 || starts != restarts+1 || exits != restarts {
		t.Errorf("%v starts, %v restarts, %v exits with 3; %v", starts, restarts, exits, first)
	}
	var least, most float64 = ttl.Seconds(), 0
	staysTrue(t, "a leads", ttl, func() bool {
		left, ok := a.metric(t, "leaderrun_deadline_seconds")
		least, most = min(least, left), max(most, left)
		return ok && left > 0 && left <= ttl.Seconds()
	})
	if most-least < ttl.Seconds()/10 || least < ttl.Seconds()/2 {
		t.Errorf("%v to %v seconds were left of %v", least, most, ttl)
	}
	renewals, _ := a.metric(t, "leaderrun_renewal_seconds_count")
	fast, _ := a.metric(t, "leaderrun_renewal_seconds_bucket", `le="5"`)
	spent, _ := a.metric(t, "leaderrun_renewal_seconds_sum")
	if renewals < 3 || fast != renewals || spent <= 0 || spent > renewals {
		t.Errorf("%v renewals, %v of them in 5 s, took %v s", renewals, fast, spent)
	}
	_, text := get(a.address(t), "/metrics")
	labels := fmt.Sprintf(`{election=%q,candidate="a",store=%q,zone=%q}`, e.name, s.url, "a\"b\\c")
	if !strings.Contains(text, "\nleaderrun_leader"+labels+" 1\n") {
		t.Errorf("no leaderrun_leader%s 1 in\n%s", labels, text)
	}
	promtool(t, strings.NewReader(text), "check", "metrics")

	b := e.start(spec{id: "b", ttl: ttl, flags: listening, command: e.job()})
	b.standsBehind(t, "a", patient)
	if _, ok := b.metric(t, "leaderrun_deadline_seconds"); ok {
		t.Error("a standby has a deadline")
	}
	b.counts(t, 0, "leaderrun_leader")
	a.signal(t, unix.SIGTERM)
	b.counts(t, 1, "leaderrun_leader")
}

// A takeover counts by how the tenure before had ended.
func TestTakeoverCauses(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t, ttl := s.t, s.lease(3*time.Second)
		t.Parallel()
		e := newElection(t, s)
		a, b, first := e.pair(spec{ttl: ttl, flags: listening}, spec{ttl: ttl, flags: listening})
		a.counts(t, 1, "leaderrun_takeovers_total", `cause="first"`)
		c := e.start(spec{id: "c", ttl: ttl, flags: listening})
		c.standsBehind(t, "a", patient)
		a.signal(t, unix.SIGTERM)
		next, second := e.next(first, b, c)
		next.counts(t, 1, "leaderrun_takeovers_total", `cause="released"`)
		guard := next.theGuard(t)
		freeze(t, next.pid) // or who is killed second may see the other's end, and give the lock back
		kill(t, unix.SIGKILL, guard, next.pid)
		last := map[*candidate]*candidate{b: c, c: b}[next]
		e.leads(last, second)
		last.counts(t, 1, "leaderrun_takeovers_total", `cause="vanished"`)
	})
}

// Nothing of --listen reaches guard or command, neither the socket nor the variable;
// once the supervisor is killed, the next one has the port though they still live.
func TestListenStaysHere(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	address := freeAddress(t)
	own := spec{id: "a", env: []string{"LEADERRUN_LISTEN=" + address}, command: e.wild()}
	a := e.start(own)
	first := e.leads(a, nil, everyRole...)
	a.answers(t, "/leader", http.StatusOK, prompt)
	sockets := socketsOf(a.pid)
	if len(sockets) == 0 {
		t.Error("the supervisor has no socket")
	}
	for _, pid := range []int{a.theGuard(t), first.mains[0]} {
		for _, s := range socketsOf(pid) {
			if slices.Contains(sockets, s) {
				t.Errorf("process %d has %s", pid, s)
			}
		}
	}
	if !slices.Contains(environOf(first.mains[0]), "LEADERRUN_LISTEN=") {
		t.Error("the child has LEADERRUN_LISTEN")
	}
	other := e.start(spec{id: "other", flags: []string{"--listen", address}})
	other.exits(t, 69, prompt)
	if text := readFile(other.log); strings.Count(text, "\n") != 1 || !containsAll(text, []string{"--listen " + address, "in use"}) {
		t.Errorf("refused with %q", text)
	}
	freeze(t, a.guard) // so that the tree outlives the supervisor for sure
	a.signal(t, unix.SIGKILL)
	a.exits(t, 128+9, prompt)
	own.id = "b"
	b := e.start(own)
	b.answers(t, "/healthz", http.StatusOK, prompt)
	kill(t, unix.SIGCONT, a.guard)
	e.leads(b, first)
}
