//go:build linux

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
	"leaderrun/supervisor"
)

// once is a caller of --once-for k.
func (e *election) once(id string, flags ...string) *candidate {
	e.t.Helper()
	return e.start(spec{id: id, command: e.job(), flags: append(flags, "--once-for", "k")})
}

// What becomes of a job, by its end and --rerun, and with what three callers end: a,
// who starts it; b, who waits meanwhile; c, who comes later. Who has nothing to do
// says nothing, and who is refused says one line.
func TestRerun(t *testing.T) {
	t.Parallel()
	never, failed := []string{"--rerun", "never"}, []string{"--rerun", "failed"}
	for _, c := range []struct {
		name    string
		flags   []string
		ends    string         // statuses of the job, start by start
		sig     syscall.Signal // to a, in the middle of the first
		a, b, c int
		starts  int
		stores  func(*testing.T, func(*store))
	}{
		{"finished", nil, "0", 0, 0, 0, 0, 1, eachStore},
		{"failed", nil, "3", 0, 3, 0, 0, 1, two},
		{"interrupted", nil, "0", unix.SIGTERM, 128 + 15, 0, 0, 2, eachStore},
		{"killed", nil, "0", unix.SIGKILL, 128 + 9, 0, 0, 2, two},
		{"never failed", never, "3", 0, 3, 0, 0, 1, two},
		{"never interrupted", never, "0", unix.SIGTERM, 128 + 15, 128 + 15, 128 + 15, 1, two},
		{"never killed", never, "0", unix.SIGKILL, 128 + 9, 75, 75, 1, eachStore},
		{"never killed, status", append(never, "-E", "9"), "0", unix.SIGKILL, 128 + 9, 9, 9, 1, two},
		{"failed once", failed, "3 0", 0, 0, 0, 0, 2, eachStore},
		{"failed by signal", failed, "K 0", 0, 0, 0, 0, 2, two},
		{"failed always", failed, "3 4 5", 0, 5, 5, 5, 3, two},
		{"failed, one attempt", append(failed, "--attempts", "1"), "3", 0, 3, 3, 3, 1, two},
		{"interrupted, one attempt", []string{"--attempts", "1"}, "0", unix.SIGTERM, 128 + 15, 128 + 15, 128 + 15, 1, two},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.stores(t, func(s *store) {
				t := s.t
				t.Parallel()
				e := newJobs(t, s)
				flags := append(c.flags[:len(c.flags):len(c.flags)], verbose...)
				a := e.once("a", flags...)
				e.run(1)
				b := e.once("b", flags...)
				b.standsBehind(t, "a", patient)
				if c.sig != 0 {
					e.beatsAgain(e.leads(a, nil))
					a.signal(t, c.sig)
					a.exits(t, c.a, patient)
				}
				e.ends(c.ends)
				a.exits(t, c.a, patient)
				b.exits(t, c.b, patient)
				begin := now()
				later := e.once("c", flags...)
				later.exits(t, c.c, patient)
				if took := now().since(begin); took > prompt {
					t.Errorf("who comes later took %v", took)
				}
				e.started(c.starts)
				want := ""
				if c.c != 0 {
					want = tickSkipped
				}
				later.saysOnly(t, want)
				if c.starts == 1 {
					b.saysOnly(t, want)
				}
			})
		})
	}
}

// A job that takes its host down with it is started three times, and not once more.
func TestRerunPoisonous(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		for n, id := range []string{"a", "b", "c"} {
			c := e.once(id, "--attempts", "3")
			e.run(n + 1)
			e.beatsAgain(e.leads(c, nil))
			c.signal(t, unix.SIGKILL)
		}
		d := e.once("d", "--attempts", "3")
		d.exits(t, 75, patient)
		d.saysOnly(t, tickSkipped)
		e.started(3)
	})
}

// A job ends well while its store is away until past the deadline. Nobody knows, so
// that it counts as interrupted and is run again.
func TestRerunUnrecorded(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, s := n.t, shared(n.t, n.kind)
		t.Parallel()
		ttl := s.lease(3 * time.Second)
		proxy := servers.NewProxy(t, s.Endpoints()[0])
		e := newJobs(t, s)
		job := spec{id: "a", ttl: ttl, command: e.job(), flags: append(verbose, "--once-for", "k")}
		via := job
		via.store = s.at(proxy.Addr())
		a := e.start(via)
		e.run(1)
		job.id = "b"
		b := e.start(job)
		b.standsBehind(t, "a", patient)
		proxy.Hold()
		e.ends("0")
		if line := a.says(t, tickEnded, 1, patient); line.get("state") != "finished" {
			t.Errorf("the job's end was %v", line)
		}
		if line := a.says(t, tickUnrecorded, 1, patient); line.get("level") != "ERROR" || line.get("tick") != "k" {
			t.Errorf("does not say at error that the end was not recorded: %v", line)
		}
		b.exits(t, 0, patient)
		proxy.Resume()
		a.exits(t, 0, patient)
		e.started(2)
		if r := e.record(supervisor.KeysValue, "k"); r.State != supervisor.StateFinished || r.Attempt != 2 || r.Candidate != "b" {
			t.Errorf("recorded is %v", r)
		}
	})
}

// A command that cannot be executed is not tried in a loop, whatever is to be rerun. It
// was no attempt: another host may be able to.
func TestRerunNotExecutable(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		broken := filepath.Join(e.dir, "broken")
		// Written by a process of its own: a fork elsewhere in this one would keep it open.
		must(t, exec.Command("/bin/sh", "-c", `printf '#!/no/such/shell\n' >"$0" && chmod +x "$0"`, broken).Run())
		for id, flags := range map[string][]string{
			"a": {"--once-for", "k", "--rerun", "failed"},
			"b": {"--schedule", "1s", "--rerun", "failed", "--catch-up", "1m"},
		} {
			begin := now()
			c := e.start(spec{id: id, command: []string{broken}, flags: flags})
			c.exits(t, 127, patient)
			if took := now().since(begin); took > prompt+time.Second { // the schedule's next tick
				t.Errorf("%v: exited after %v", flags, took)
			}
		}
		e.ends("0")
		e.once("c", "--attempts", "1").exits(t, 0, patient)
		e.started(1)
	})
}

// One caller of a host waits; a second one gives up, and is welcome later.
func TestOneWaits(t *testing.T) {
	t.Parallel()
	e := newJobs(t, fileStore(t))
	e.once("a")
	e.run(1)
	b := e.once("b", verbose...)
	b.standsBehind(t, "a", patient)
	begin := now()
	c := e.once("c")
	c.exits(t, 75, patient)
	if took := now().since(begin); took < 4*time.Second || took > 5*time.Second+2*prompt {
		t.Errorf("the second one gave up after %v, want 5 s", took)
	}
	c.saysOnly(t, tickSkipped)
	e.ends("0")
	b.exits(t, 0, patient)
	e.once("d").exits(t, 0, patient)
	e.started(1)
}

// A thousand keys with the longest names and candidates fit every store; one more
// drops the oldest.
func TestKeysFit(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		t.Parallel()
		// JSON writes each byte of this candidate as two.
		candidate, long := strings.Repeat(`"`, 64), time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)
		key := func(n int) string {
			name := fmt.Sprintf("release-%04d", n)
			return name + strings.Repeat("x", supervisor.MaxKey-len(name))
		}
		var keys supervisor.Ticks
		for n := range 1000 {
			keys = append(keys, supervisor.Tick{
				Name: key(n), State: supervisor.StateInterrupted, Attempt: 100, Candidate: candidate,
				Token: 1 << 63, Status: 255, Start: long, End: long,
			})
		}
		e := newJobs(t, s)
		e.writes(supervisor.KeysValue, keys.Encode())
		e.ends("0")
		// The attempts at this one are used up; the next is new.
		e.start(spec{id: "a", command: e.job(), flags: []string{"--once-for", key(1)}}).exits(t, 255, patient)
		e.start(spec{id: candidate, command: e.job(), flags: []string{"--once-for", key(1000)}}).exits(t, 0, patient)
		e.started(1)
		got := e.recorded(supervisor.KeysValue)
		if len(got) != 1000 || got[0].Name != key(1) || got[999].Name != key(1000) || got[999].Candidate != candidate {
			t.Errorf("%d records of %d bytes, from %v to %v", len(got), len(got.Encode()), got[0], got[len(got)-1])
		}
	})
}

// Records that nobody can read are not overwritten: people are told, in one line.
func TestRecordsUnreadable(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		e.writes(supervisor.TicksValue, []byte("garbage"))
		e.writes(supervisor.KeysValue, []byte("{}"))
		for id, c := range map[string]struct {
			value string
			flags []string
		}{
			"a": {supervisor.TicksValue, []string{"--once-per", "1m"}},
			"b": {supervisor.TicksValue, []string{"--schedule", "1s"}},
			"c": {supervisor.KeysValue, []string{"--once-for", "k"}},
		} {
			caller := e.start(spec{id: id, command: e.job(), flags: c.flags})
			caller.exits(t, 78, patient)
			caller.saysOnly(t, exiting)
			if line := caller.says(t, exiting, 1, prompt); !strings.Contains(line.get("cause"), c.value) {
				t.Errorf("%v: does not name the value %s: %v", c.flags, c.value, line)
			}
		}
		e.started(0)
	})
}

// Hosts in different zones mean the same tick if the expression says the zone, and
// otherwise each its own.
func TestTicksAcrossZones(t *testing.T) {
	t.Parallel()
	two(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newJobs(t, s)
		e.ends("0")
		calls := func(zone, period string) {
			c := e.start(spec{id: filepath.Base(zone), command: e.job(), env: []string{"TZ=" + zone}, flags: []string{"--once-per", period}})
			c.exits(t, 0, patient)
			c.saysOnly(t, "")
		}
		const kolkata, newYork, auckland = "Asia/Kolkata", "America/New_York", "Pacific/Auckland"
		calls(kolkata, "TZ=Europe/Berlin 30 1 * * *")
		calls(newYork, "TZ=Europe/Berlin 30 1 * * *")
		calls(auckland, "TZ=Europe/Berlin 30 1 * * *")
		e.started(1)
		calls(kolkata, "30 1 * * *")
		calls(newYork, "30 1 * * *")
		if n := len(e.recorded(supervisor.TicksValue)); n != 3 {
			t.Errorf("%d ticks, want one of Berlin and one each of %s and %s: %v", n, kolkata, newYork, e.recorded(supervisor.TicksValue))
		}
	})
}

// A run in which nothing went wrong prints nothing, for a cron mails what is printed.
func TestQuiet(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		t.Parallel()
		e := newElection(t, s)
		for i, flags := range [][]string{
			{"--try"},
			{"--once-for", "k"},
			{"--once-for", "k"}, // has run
			{"--once-per", "1h"},
			{"--once-per", "@daily", "--on-elected", "true", "--on-lost", "true", "--health-command", "true", "--health-interval", "100ms"},
		} {
			c := e.start(spec{id: strconv.Itoa(i), command: e.child("--exit", "0", "--after", "250ms"), flags: flags})
			c.exits(t, 0, patient)
			if text := readFile(c.log) + readFile(c.out); text != "" {
				t.Errorf("%v is not quiet:\n%s", flags, text)
			}
		}
	})
}
