//go:build linux

package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/supervisor"
)

// Whatever a tenure is doing, who is asked to step down stops it, stands back, and
// another leads.
func TestStepDownWhile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		flags   []string
		both    bool // b has the flags, too
		command func(e *election) []string
		busy    func(e *election, a *candidate) // waits until it is in the midst of it
		after   func(e *election, a *candidate) // what came of it
	}{
		{
			name: "idle", flags: []string{"--schedule", "1h", "--log-level", "info"}, both: true,
		},
		{
			name: "restarting", flags: []string{"--restart", "always", "--restart-limit", "100"}, both: true,
			command: func(*election) []string { return []string{"false"} },
			busy:    func(e *election, a *candidate) { a.says(e.t, "restarting", 4, patient) },
		},
		{
			name: "elected", flags: []string{"--on-elected", "sleep 30", "--hook-timeout", "4s", "--loss-grace", "5s"},
			after: func(e *election, a *candidate) {
				if got := a.said("hook failed"); len(got) > 0 {
					e.t.Errorf("a hook that was stopped has failed: %v", got)
				}
			},
		},
		{
			name:    "hooked",
			command: func(e *election) []string { return e.tame() },
			busy:    func(e *election, a *candidate) { e.leads(a, nil) },
			after:   func(e *election, _ *candidate) { e.ranHooks("asked to step down") },
		},
		{
			name: "wild", flags: []string{"--stop-timeout", "500ms"},
			command: func(e *election) []string { return e.wild() },
			busy:    func(e *election, a *candidate) { e.leads(a, nil, everyRole...) },
		},
		{
			name: "tick", flags: []string{"--once-for", "k", "--log-level", "info"}, both: true,
			command: func(e *election) []string { return e.job() },
			busy: func(e *election, _ *candidate) {
				e.stands(supervisor.KeysValue, "k", supervisor.StateStarted)
				e.run(1)
			},
			after: func(e *election, a *candidate) {
				e.run(2)
				e.ends("0")
				a.exits(e.t, 0, patient) // b has run it
				if r := e.stands(supervisor.KeysValue, "k", supervisor.StateFinished); r.Attempt != 2 || r.Candidate != "b" {
					e.t.Errorf("the key is recorded as %+v", r)
				}
			},
		},
		{
			name: "tried", flags: []string{"--try", "--log-level", "info"},
			after: func(e *election, a *candidate) { a.exits(e.t, 75, patient) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newJobs(t, fileStore(t))
			flags, command := c.flags, e.child()
			if c.name == "hooked" {
				flags = e.hooks()
			}
			if c.command != nil {
				command = c.command(e)
			}
			a := e.start(spec{id: "a", flags: flags, command: command})
			a.says(t, elected, 1, patient)
			if c.busy != nil {
				c.busy(e, a)
			}
			if !c.both {
				flags = nil
			}
			e.start(spec{id: "b", flags: flags, command: command})
			waitFor(t, "b to stand by", patient, func() bool { return len(e.about("status", "--json").shown(t).Elections[0].Standbys) == 1 })
			e.about("step-down").says(t, 0, "^b leads")
			if c.after != nil {
				c.after(e, a)
			}
		})
	}
}

// slowly is a command that takes so long to stop.
func (e *election) slowly(seconds string) []string {
	return append([]string{"/bin/sh", "-c", `trap 'sleep ` + seconds + `; kill -9 $!; exit 0' TERM; "$@" & while wait $!; [ $? -gt 128 ] && kill -0 $! 2>/dev/null; do :; done`, "slow"}, e.child()...)
}

// Who leads already is not asked, though a standby's id begins with its own; a leader that
// is stopping answers, and nobody is told that nothing changes.
func TestStepDownWhoStops(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	a := e.start(spec{id: "a", command: e.slowly("7")})
	first := e.leads(a, nil)
	b := e.start(spec{id: "ab"})
	b.standsBehind(t, "a", patient)
	e.shows(a, first.token, b)
	e.about("step-down", "--to", "a").says(t, 0, "a leads .* already")
	a.signal(t, unix.SIGTERM)
	a.says(t, "child stopping", 1, patient)
	e.about("step-down").says(t, 0, "^ab leads")
}

// Several ask at once, and take each other's requests and answers away: all hear who leads.
func TestStepDownAskedBySeveral(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newElection(t, s)
		a, b, first := e.pair(spec{command: e.slowly("7")}, spec{})
		e.shows(a, first.token, b)
		const askers = 4
		answers := make(chan answer, askers)
		for range askers {
			go func() { answers <- e.about("step-down") }()
		}
		told := false // that it takes long; one that was answered late may not be
		for range askers {
			said := <-answers
			said.says(t, 0, "^b leads")
			told = told || strings.Contains(said.err, "a steps down; waiting for who leads next")
		}
		if !told {
			t.Error("nobody was told what it waits for")
		}
		e.handedOver(first, e.leads(b, first), prompt)
	})
}

// What an earlier hand-over left behind, to somebody who is gone, keeps nobody from its
// only attempt.
func TestHandOverLeftBehind(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newElection(t, s)
		a, b, first := e.pair(spec{command: e.slowly("1")}, spec{command: e.tame()})
		e.shows(a, first.token, b)
		asked := make(chan answer, 1)
		go func() { asked <- e.about("step-down", "--to", "b", "--wait", "3s") }()
		a.says(t, "giving up the tenure", 1, patient)
		b.signal(t, unix.SIGKILL)
		a.signal(t, unix.SIGTERM)
		a.exits(t, 0, patient)
		(<-asked).says(t, 75, "waited long enough")
		c := e.start(spec{id: "c", flags: []string{"--try"}, command: []string{"true"}})
		c.exits(t, 0, patient)
	})
}

// A frozen leader is asked by somebody who is told to stop before it goes on: it does
// not heed that any more.
func TestStepDownInterrupted(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	a := e.start(spec{id: "a", command: e.tame()})
	first := e.leads(a, nil)
	b := e.start(spec{id: "b"})
	b.standsBehind(t, "a", patient)
	freeze(t, a.pid)
	ask := exec.Command(leaderrunBin, "step-down", "--store", e.store.url, "--name", e.name)
	ask.Env = cleanEnv()
	must(t, ask.Start())
	request := filepath.Join(e.store.dir, e.name+".d", "request.json")
	waitFor(t, "the request", patient, func() bool { return readFile(request) != "" })
	must(t, ask.Process.Signal(unix.SIGTERM))
	_ = ask.Wait() // the state says it all
	if status := ask.ProcessState.ExitCode(); status != 128+int(syscall.SIGTERM) {
		t.Errorf("it exited with %d, want 143", status)
	}
	kill(t, unix.SIGCONT, a.pid)
	e.goesOn(first, time.Second)
}

// Whom the lock was meant for is gone before it comes to its turn: others pass it on no
// longer than there were others, and then one leads.
func TestHandOverToNobody(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newElection(t, s)
		// a takes a second to stop, in which the one that is meant dies.
		a, b, first := e.pair(spec{command: e.slowly("1")}, spec{})
		c := e.start(spec{id: "c"})
		c.standsBehind(t, "a", patient)
		waitFor(t, "c to stand by", patient, func() bool { return len(e.about("status", "--json").shown(t).Elections[0].Standbys) == 2 })
		asked := make(chan answer, 1)
		go func() { asked <- e.about("step-down", "--to", "c") }()
		a.says(t, "giving up the tenure", 1, patient)
		c.signal(t, unix.SIGKILL)
		second := e.leads(b, first)
		e.handedOver(first, second, patient)
		(<-asked).says(t, 1, "^b leads")
	})
}
