//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const fencing = "../examples/fencing/"

// tokenless is what no tenure has for a token.
var tokenless = []string{"", "abc", "-1", "1.5", "18446744073709551616", "1'); DROP TABLE bookings; --", "1;touch /", "$(touch /)"}

// The documents quote the examples as they are run here.
func TestExamplesAreQuoted(t *testing.T) {
	all, err := filepath.Glob("../examples/*/*")
	must(t, err)
	for _, name := range all {
		example, err := os.ReadFile(name)
		must(t, err)
		quoted := "    " + strings.ReplaceAll(strings.TrimSpace(string(example)), "\n", "\n    ")
		if !strings.Contains(documents(t), strings.ReplaceAll(quoted, "    \n", "\n")) {
			t.Errorf("no document quotes %s", name)
		}
	}
}

// A job is one run of an example with a token, outside of any tenure: what a
// leader handed to another daemon, which knows of no deadline.
func job(t *testing.T, token string, env []string, name string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), fencing+name, args...)
	c.Env = append(cleanEnv(), env...)
	if token != "" {
		c.Env = append(c.Env, "LEADERRUN_FENCING_TOKEN="+token)
	}
	return c
}

// turnedAway runs a job that must fail, for a reason.
func turnedAway(t *testing.T, c *exec.Cmd, why string) {
	t.Helper()
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), why) {
		t.Errorf("%s: %v, %q; want %q", c, err, out, why)
	}
}

// tenures runs a command in two tenures, one after the other.
func tenures(t *testing.T, env []string, command ...string) {
	t.Helper()
	e := newElection(t, fileStore(t))
	for _, id := range []string{"a", "b"} {
		e.start(spec{id: id, env: env, command: command}).exits(t, 0, patient)
	}
}

// What a tenure left behind books no more once a later one has, and nothing that
// was booked before or after is lost.
func TestFencedPostgres(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	must(t, p.psql("-f", fencing+"postgres.sql", "-c", "CREATE TABLE bookings (token bigint, cents int)").Run())
	booked := func(want string) {
		t.Helper()
		if got := p.ask("SELECT string_agg(token::text, ' ' ORDER BY ctid) FROM bookings"); got != want {
			t.Errorf("booked by %s, want %s", got, want)
		}
	}
	tenures(t, p.env, fencing+"postgres-job")
	booked("1 2")
	turnedAway(t, job(t, "1", p.env, "postgres-job"), "fencing token 1 for billing is stale")
	for _, token := range tokenless {
		turnedAway(t, job(t, token, p.env, "postgres-job"), "")
	}
	booked("1 2")
	must(t, job(t, "2", p.env, "postgres-job").Run()) // the latest may go on
	booked("1 2 2")

	// In the midst of a transaction: the next tenure waits for its end.
	ends := p.holdsFence("2")
	next := job(t, "3", p.env, "postgres-job")
	must(t, next.Start())
	p.waits()
	must(t, ends())
	must(t, next.Wait())
	booked("1 2 2 2 3")

	// Frozen there, it holds the next one up until PostgreSQL ends the transaction.
	ends = p.holdsFence("3")
	must(t, job(t, "4", p.env, "postgres-job").Run())
	if ends() == nil {
		t.Error("the frozen writer was not turned away")
	}
	booked("1 2 2 2 3 4")
}

// holdsFence begins the job's transaction; ends goes on with it.
func (p postgres) holdsFence(token string) (ends func() error) {
	p.t.Helper()
	c := p.psql("-v", "token="+token)
	c.Env = append(c.Env, "PGOPTIONS=-c idle_in_transaction_session_timeout=5s")
	in, err := c.StdinPipe()
	must(p.t, err)
	must(p.t, c.Start())
	_, err = fmt.Fprintln(in, "BEGIN; SELECT fence('billing', :'token');")
	must(p.t, err)
	waitFor(p.t, "the fence to be held", patient, func() bool {
		return p.ask("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") == "1"
	})
	return func() error {
		_, _ = fmt.Fprintln(in, "INSERT INTO bookings VALUES (:'token', 1); COMMIT;")
		_ = in.Close()
		return c.Wait()
	}
}

// waits returns once somebody waits for the fence.
func (p postgres) waits() {
	p.t.Helper()
	waitFor(p.t, "the next to wait", patient, func() bool {
		return p.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "1"
	})
}

// What a tenure left behind writes no more once a later one has, also when it has
// begun before.
func TestFencedFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report of today")
	holds := func(want string) {
		t.Helper()
		got, err := os.ReadFile(file)
		if must(t, err); string(got) != want {
			t.Errorf("the file holds %q, want %q", got, want)
		}
	}
	write := func(token, text string) *exec.Cmd {
		c := job(t, token, nil, "fenced-write", file)
		c.Stdin = strings.NewReader(text)
		return c
	}
	tenures(t, nil, "sh", "-c", `echo "by $LEADERRUN_FENCING_TOKEN" | `+fencing+`fenced-write "$0"`, file)
	holds("by 2\n")
	turnedAway(t, write("1", "late"), "token 1 is stale")
	for _, token := range tokenless {
		turnedAway(t, write(token, "x"), "")
	}
	holds("by 2\n")
	must(t, write("2", "again").Run()) // the latest may go on
	holds("again")

	slow := job(t, "2", nil, "fenced-write", file)
	in, err := slow.StdinPipe()
	must(t, err)
	var said bytes.Buffer
	slow.Stderr = &said
	must(t, slow.Start())
	_, err = in.Write([]byte("half"))
	must(t, err)
	must(t, slow.Process.Signal(unix.SIGSTOP))
	must(t, write("3", "next").Run())
	must(t, slow.Process.Signal(unix.SIGCONT))
	must(t, in.Close())
	if err := slow.Wait(); err == nil || !strings.Contains(said.String(), "token 2 is stale") {
		t.Errorf("the slow one: %v, %s", err, said.String())
	}
	holds("next")

	// The comparison and the write are one step: who waits for it compares after it.
	held, err := os.Open(file + ".lock")
	must(t, err)
	must(t, unix.Flock(int(held.Fd()), unix.LOCK_EX))
	turnedAway(t, write("4", "x"), "held by a writer that does not end")
	waiting := job(t, "4", nil, "fenced-write", file)
	waiting.Stderr = &said
	must(t, waiting.Start())
	staysTrue(t, "it waits for the lock", 300*time.Millisecond, func() bool {
		p, ok := readProc(waiting.Process.Pid)
		return ok && p.state != "Z"
	})
	must(t, os.WriteFile(file+".token", []byte("5\n"), 0o600))
	must(t, held.Close())
	if err := waiting.Wait(); err == nil || !strings.Contains(said.String(), "token 4 is stale") {
		t.Errorf("the one that waited: %v, %s", err, said.String())
	}
	holds("next")

	var all sync.WaitGroup
	for _, token := range slices.Backward([]string{"4", "5", "6", "7", "8", "9", "10", "11"}) {
		all.Go(func() { _ = write(token, "by "+token).Run() })
	}
	all.Wait()
	holds("by 11")
	if left, _ := filepath.Glob(file + ".new*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
