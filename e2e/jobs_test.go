//go:build linux

package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/stores"
	"leaderrun/supervisor"
)

// jobScript is a job whose end the test decides: it notes its start in DIR/runs, and
// lets a child beat until there is DIR/end.CANDIDATE or DIR/end. That holds its exit
// status at each start, the last for all further ones; K is death by SIGKILL. With
// DIR/polite it exits with 0 when it is told to stop.
const jobScript = `dir=$1; shift
echo "$(date +%s%N) ${LEADERRUN_ATTEMPT:-0} ${LEADERRUN_TICK:--} $LEADERRUN_CANDIDATE" >>"$dir/runs"
[ ! -e "$dir/polite" ] || trap 'exit 0' TERM
"$@" &
mine=$dir/end.$LEADERRUN_CANDIDATE
sleep 0.1
until [ -s "$mine" ] || [ -s "$dir/end" ]; do sleep 0.05; done
[ -s "$mine" ] || mine=$dir/end
kill -9 $!
set -- $(cat "$mine")
n=${LEADERRUN_ATTEMPT:-$(grep -c " $LEADERRUN_CANDIDATE$" "$dir/runs")}
while [ "$n" -gt 1 ] && [ $# -gt 1 ]; do n=$((n-1)); shift; done
[ "$1" != K ] || kill -9 $$
exit "$1"
`

// jobTime is what a job takes that may end at once, on a loaded machine.
const jobTime = 300 * time.Millisecond

// newJobs prepares an election whose tenures may have several commands, one after
// the other.
func newJobs(t testing.TB, s *store) *election {
	t.Helper()
	e := newElection(t, s)
	e.apart = true
	t.Cleanup(e.oneAtATime)
	return e
}

// job is jobScript with these flags of testdata/child.
func (e *election) job(flags ...string) []string {
	return append([]string{"/bin/sh", "-c", jobScript, "job", e.dir}, e.child(flags...)...)
}

// ends lets jobs end, with these statuses.
func (e *election) ends(statuses string) { e.put("end", statuses) }

// holds lets jobs that begin from now on go on until ends.
func (e *election) holds() {
	e.t.Helper()
	must(e.t, os.Remove(filepath.Join(e.dir, "end")))
}

// put makes a file for what runs in the election.
func (e *election) put(name, text string) {
	e.t.Helper()
	must(e.t, os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o644))
}

// A jobStart is one line of jobScript.
type jobStart struct {
	at        time.Time
	attempt   int
	tick      string // in UTC; "-" for none
	candidate string
}

func (e *election) jobStarts() (all []jobStart) {
	e.t.Helper()
	text := readFile(filepath.Join(e.dir, "runs"))
	for line := range strings.Lines(text[:strings.LastIndexByte(text, '\n')+1]) {
		var r jobStart
		var at int64
		if _, err := fmt.Sscan(line, &at, &r.attempt, &r.tick, &r.candidate); err != nil {
			e.t.Fatalf("run %q: %v", line, err)
		}
		r.at = time.Unix(0, at)
		if due, err := time.Parse(time.RFC3339Nano, r.tick); err == nil {
			r.tick = due.UTC().Format(time.RFC3339Nano)
		}
		all = append(all, r)
	}
	return all
}

// run waits for the nth start of a job, counted from one.
func (e *election) run(n int) jobStart {
	e.t.Helper()
	waitFor(e.t, fmt.Sprintf("start %d of the job", n), patient, func() bool { return len(e.jobStarts()) >= n })
	return e.jobStarts()[n-1]
}

// started asserts how often a job was started, each time as the next attempt.
func (e *election) started(times int) {
	e.t.Helper()
	runs := e.jobStarts()
	if len(runs) != times {
		e.t.Errorf("the job was started %d times, want %d: %v", len(runs), times, runs)
	}
	for i, r := range runs {
		if r.attempt != i+1 {
			e.t.Errorf("start %d says that it is attempt %d", i+1, r.attempt)
		}
	}
}

func (r jobStart) due(t testing.TB) time.Time {
	t.Helper()
	due, err := time.Parse(time.RFC3339Nano, r.tick)
	must(t, err)
	return due
}

// locker reaches the store as leaderrun does.
func (s *store) locker(election string) (lock.Locker, func()) {
	s.t.Helper()
	u, err := lock.ParseURL(s.url)
	must(s.t, err)
	settings := lock.Settings{URL: u}
	settings.DefaultTimeout, err = stores.Timing(settings, longTTL, 0)
	must(s.t, err)
	settings, err = stores.Resolve(settings)
	must(s.t, err)
	opened, err := stores.Open(settings)
	must(s.t, err)
	return opened.Locker(election), func() { must(s.t, opened.Close()) }
}

// recorded returns what the store knows of the ticks or the keys.
func (e *election) recorded(value string) supervisor.Ticks {
	e.t.Helper()
	locker, end := e.store.locker(e.name)
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	b, err := locker.Get(ctx, value)
	must(e.t, err)
	ticks, err := supervisor.DecodeTicks(b)
	must(e.t, err)
	return ticks
}

// record returns that of one tick or key; its State is "" if there is none.
func (e *election) record(value, name string) supervisor.Tick {
	e.t.Helper()
	for _, r := range e.recorded(value) {
		if r.Name == name {
			return r
		}
	}
	return supervisor.Tick{}
}

// stands waits until a tick or key is recorded in this state.
func (e *election) stands(value, name string, state supervisor.TickState) supervisor.Tick {
	e.t.Helper()
	var r supervisor.Tick
	waitFor(e.t, fmt.Sprintf("%s to be recorded as %s", name, state), patient, func() bool {
		r = e.record(value, name)
		return r.State == state
	})
	return r
}

// writes puts a value beside the lock, as its holder.
func (e *election) writes(value string, b []byte) {
	e.t.Helper()
	locker, end := e.store.locker(e.name)
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	lease, err := locker.Acquire(ctx, lock.Candidate{ID: "test", Host: "test", TTL: longTTL, Grace: time.Second})
	must(e.t, err)
	must(e.t, errors.Join(lease.Put(ctx, value, b), lease.Release(ctx)))
}

// A life is what the beats tell of one process.
type life struct {
	beat // the first
	last instant
}

// lives returns all processes of these roles, by their first beat.
func (e *election) lives(roles ...string) []life {
	e.t.Helper()
	text, err := os.ReadFile(e.history.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.t.Fatal(err)
	}
	all := map[int]*life{}
	for line := range strings.Lines(string(text[:strings.LastIndexByte(string(text), '\n')+1])) {
		b, err := parseBeat(line)
		must(e.t, err)
		if l := all[b.pid]; l != nil {
			l.last = b.at
		} else if slices.Contains(roles, b.role) {
			all[b.pid] = &life{b, b.at}
		}
	}
	var sorted []life
	for l := range maps.Values(all) {
		sorted = append(sorted, *l)
	}
	slices.SortFunc(sorted, func(a, b life) int { return cmp.Compare(a.at, b.at) })
	return sorted
}

// Roles of the children that hooks and checks are.
const (
	roleElected = "elected"
	roleLost    = "lost"
	roleCheck   = "check"
)

// beats is a child of that role for a shell; it exits with 0 after --life.
func (e *election) beats(role string, flags ...string) string {
	return strings.Join(append([]string{childBin, "--beats", e.history.path, "--role", role}, flags...), " ")
}

// oneAtATime asserts that the tenures' trees, and the commands of each, lived one
// after the other.
func (e *election) oneAtATime() {
	e.history.read(e.t)
	for _, o := range e.history.overlaps() {
		e.t.Error(o)
	}
	for _, n := range e.history.inOrder() {
		if len(n.candidates) != 1 {
			e.t.Errorf("token %d: candidates %v, want one", n.token, n.candidates)
		}
	}
	var before life
	for _, l := range e.lives("main", roleElected, roleLost) {
		if before.last >= l.at || before.token > l.token {
			e.t.Errorf("%s %d of token %d began %v after the last beat of %s %d of token %d",
				l.role, l.pid, l.token, l.at.since(before.last), before.role, before.pid, before.token)
		}
		before = l
	}
}

// saysOnly asserts the one line that a candidate which says only what went wrong has
// said; none if it is "".
func (c *candidate) saysOnly(t testing.TB, msg string) {
	t.Helper()
	got := slices.DeleteFunc(c.logs(), func(l logLine) bool { return l.get("level") != "WARN" && l.get("level") != "ERROR" })
	if msg == "" && len(got) == 0 || len(got) == 1 && got[0].msg() == msg {
		return
	}
	t.Errorf("%s complains %v, want only %q", c.id, got, msg)
}

const (
	tickSkipped    = "tick skipped"
	tickEnded      = "tick ended"
	tickUnrecorded = "end of tick not recorded, it counts as interrupted"
	restarting     = "restarting"
	checkFailed    = "health check failed"
	givingUp       = "giving up the tenure"
	standingBack   = "standing back"
	hookFailed     = "hook failed"
	hookSkipped    = "hook skipped"
)

// verbose lets jobs say all, as other commands do.
var verbose = []string{"--log-level", "info"}

// two runs one test body on the stores of two kinds: this host's and a network's.
func two(t *testing.T, run func(s *store)) {
	t.Helper()
	t.Run("file", func(t *testing.T) { run(fileStore(t)) })
	t.Run("etcd", func(t *testing.T) { run(shared(t, etcdKind)) })
}
