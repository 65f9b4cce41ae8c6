//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// mutantsEnv is the variable that makes TestMutants let the fault run find the
// mutants, in as much time as it says ("25s"), and not the trials.
const mutantsEnv = "LEADERRUN_TEST_MUTANTS"

// mutantTries is how often a mutant is tried: how late a store or a machine is at what
// would show the bug is up to chance.
const mutantTries = 3

// A mutant is a leaderrun with a bug that breaks the promise.
type mutant struct {
	name    string
	file    string      // from the root of the module
	changes [][2]string // what it says, once, and what it is made to say
	trial   string      // subtest of TestTrials that finds it
	fault   string      // of TestChaos on etcd that finds it; "" if none is asked to
}

var mutants = []mutant{
	{
		name: "guard without a deadline", file: "supervisor/guard/child.go",
		changes: [][2]string{
			{"s.deadline, s.number = o.Deadline, o.Run", "s.deadline, s.number = o.Deadline.Add(time.Hour), o.Run"},
			{"s.extend(o.Deadline)", "s.extend(o.Deadline.Add(time.Hour))"},
		},
		trial: "frozen", fault: "supervisor stopped",
	}, {
		name: "deadline from the reply", file: "lock/keeper.go",
		changes: [][2]string{{"r.answered = k.clock.Now()", "r.answered = k.clock.Now()\n\t\tr.sent = r.answered"}},
		trial:   "late answers", fault: "answers late, then held",
	}, {
		name: "only the child is killed", file: "supervisor/guard/child.go",
		changes: [][2]string{
			{"_, denied, _ := killBelow(nil, 0)", "var denied *process"},
			{"inside := s.cgroup.enter(attr.Sys)", "inside := false"},
			{"for range 20 {", "for range 0 {"},
			{"if s.reap() {", "if s.reap() || s.child == 0 {"},
			{"_ = syscall.Kill(-s.group, syscall.SIGKILL) // before", "// before"},
		},
		trial: "stopped",
	}, {
		name: "winner that does not settle", file: "lock/etcd/settle.go",
		changes: [][2]string{{"return bootclock.Now() >= a.settle.until", "return true"}},
		trial:   "lock deleted",
	}, {
		name: "lease renewed without a look at the lock", file: "lock/etcd/session.go",
		changes: [][2]string{
			{"if x.create.Load() == 0 {", "if x.create.Load() >= 0 {"},
			{"err := x.ours(kv)", "err := x.ours(kv)\n\t\t\terr = nil"},
		},
		trial: "lock deleted",
	},
}

// The trials are seen to find what they are for: each passes with leaderrun as it is
// (TestTrials) and fails with a mutant, for beats that must not have been.
func TestMutants(t *testing.T) {
	t.Parallel()
	if os.Getenv(binEnv) != "" {
		t.Fatalf("%s is set: the mutants are built from the sources", binEnv)
	}
	self, err := os.Executable()
	must(t, err)
	length := os.Getenv(mutantsEnv)
	for _, m := range mutants {
		if length != "" && m.fault == "" {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			args, env := []string{"-test.run", "^TestTrials$/^" + strings.ReplaceAll(m.trial, " ", "_") + "$"}, os.Environ()
			if length != "" {
				args[1] = "^TestChaos$/^etcd$"
				env = append(env, chaosEnv+"="+length, chaosSeedEnv+"="+strconv.FormatUint(m.seed(), 10))
			}
			env = append(env, binEnv+"="+m.build(t))
			var out []byte
			found := ""
			for try := 0; found == "" && try < mutantTries; try++ {
				run := exec.Command(self, args...)
				run.Env = env
				out, _ = run.CombinedOutput()
				found = regexp.MustCompile(`BREACH token \d+(: the last beat came| began) .*`).FindString(string(out))
			}
			if found == "" {
				t.Fatalf("%v: no beats that must not have been, in %d tries:\n%s", args, mutantTries, out)
			}
			t.Log(found)
		})
	}
}

// seed is one of a plan that begins with the mutant's fault, twice, for long, at a
// leader whose child heeds no signal: whether the store is slow to end a lease is a
// matter of luck.
func (m mutant) seed() uint64 {
	p := newPlan(0, &store{kind: etcdKind})
	finds := func(n int, least float64) bool {
		s := p.step(n)
		return s.kind.name == m.fault && !s.standby && s.length > least
	}
	stubborn := func(place int) bool { return strings.Contains(p.child(place, 0).name, "TERM-ignoring") }
	for !stubborn(0) || !stubborn(1) || !finds(0, 0.9) || !finds(1, 0) {
		p.seed++
	}
	return p.seed
}

// build builds the mutant and returns its path.
func (m mutant) build(t *testing.T) (bin string) {
	t.Helper()
	root, err := filepath.Abs("..")
	must(t, err)
	dir, path := t.TempDir(), filepath.Join(root, m.file)
	source, err := os.ReadFile(path)
	must(t, err)
	for _, c := range m.changes {
		if strings.Count(string(source), c[0]) != 1 {
			t.Fatalf("%s has %q not once: what it does now is to be taken out", m.file, c[0])
		}
		source = []byte(strings.Replace(string(source), c[0], c[1], 1))
	}
	patched := filepath.Join(dir, filepath.Base(m.file))
	must(t, os.WriteFile(patched, source, 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: patched}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	bin = filepath.Join(dir, "leaderrun")
	must(t, build(bin, "leaderrun", "-overlay", filepath.Join(dir, "overlay.json")))
	return bin
}

// Trials of one directed fault each, watched and judged like a fault run.
func TestTrials(t *testing.T) {
	t.Parallel()
	for name, trial := range map[string]func(*testing.T) verdict{
		"frozen": trialFrozen, "late answers": trialLateAnswers, "stopped": trialStopped, "lock deleted": trialLockDeleted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if v := trial(t); len(v.breaches)+len(v.said) > 0 {
				t.Error("the promise was broken")
			}
		})
	}
}

// The supervisor is frozen: only the guard knows when it is time.
func trialFrozen(t *testing.T) verdict {
	t.Helper()
	const ttl = 3 * time.Second
	e := newElection(t, shared(t, etcdKind))
	st := e.stand(ttl)
	a, b, first := e.pair(spec{ttl: ttl, command: e.wild()}, spec{ttl: ttl, command: e.wild()}, everyRole...)
	renewed(ttl)
	from := freeze(t, a.pid)
	e.leads(b, first)
	pass(200 * time.Millisecond)
	st.tr.faults = []fault{{kind: "supervisor frozen", from: from, to: now(), hits: []string{"a"}, leader: first.token, mayEnd: true}}
	return st.verdict()
}

// The store's answers come late, but come; then nothing does any more. No request is
// lost whose answer the store sent: else it would keep the lease for longer than the
// last answer says, and hide a deadline that is too late.
func trialLateAnswers(t *testing.T) verdict {
	t.Helper()
	const ttl, late = 8 * time.Second, 1100 * time.Millisecond // a renewal may take a sixth of the TTL
	s := own(t, etcdKind, serverOptions{})
	e := newElection(t, s)
	st := e.stand(ttl)
	proxy := servers.NewProxy(t, s.Endpoints()[0])
	_, b, first := e.pair(
		spec{ttl: ttl, command: e.wild(), store: s.at(proxy.Addr()), flags: littleGrace},
		spec{ttl: ttl, command: e.wild()}, everyRole...)
	proxy.Delay(0, late)
	renewed(ttl)
	from := now()
	proxy.HoldUp()
	pass(late + 100*time.Millisecond)
	proxy.Hold()
	e.leads(b, first)
	pass(200 * time.Millisecond)
	st.tr.faults = []fault{{kind: "late answers, then none", from: from, to: now(), hits: []string{"a"}, leader: first.token, mayEnd: true}}
	return st.verdict()
}

// The leader is told to stop, and its child has left a fork and a daemon.
func trialStopped(t *testing.T) verdict {
	t.Helper()
	const ttl = 3 * time.Second
	e := newElection(t, fileStore(t))
	st := e.stand(ttl)
	a, b, first := e.pair(spec{ttl: ttl, command: e.wild(), flags: []string{"--stop-timeout", "300ms"}}, spec{ttl: ttl}, everyRole...)
	told := now()
	a.signal(t, unix.SIGTERM)
	e.leads(b, first)
	pass(200 * time.Millisecond)
	st.tr.faults = []fault{{kind: "told to stop", from: told, to: told, hits: []string{"a"}, leader: first.token}}
	return st.verdict()
}

// The lock is deleted by hand under a holder that hears of it, if a little late.
func trialLockDeleted(t *testing.T) verdict {
	t.Helper()
	const ttl = 6 * time.Second
	s := shared(t, etcdKind)
	e := newElection(t, s)
	st := e.stand(ttl)
	proxy := servers.NewProxy(t, s.Endpoints()[0])
	_, b, first := e.pair(spec{ttl: ttl, command: e.wild(), store: s.at(proxy.Addr())}, spec{ttl: ttl, command: e.wild()}, everyRole...)
	proxy.Delay(0, 300*time.Millisecond)
	gone := s.breakages[1]
	gone.do(e)
	taken := now()
	e.leads(b, first)
	pass(200 * time.Millisecond)
	st.tr.faults = []fault{{kind: gone.name, from: taken, to: taken, hits: []string{"a"}, leader: first.token, mayEnd: true}}
	return st.verdict()
}
