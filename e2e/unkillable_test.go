//go:build linux

package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forEveryone lets any user write into a test's directory and the history.
func (e *election) forEveryone() {
	e.t.Helper()
	dirs := []string{e.dir, filepath.Dir(e.dir)}
	if e.store.isFile() {
		dirs = append(dirs, filepath.Dir(e.store.dir))
	}
	for _, dir := range dirs {
		must(e.t, os.Chmod(dir, 0o777))
	}
	must(e.t, os.WriteFile(e.history.path, nil, 0o600))
	must(e.t, os.Chmod(e.history.path, 0o666))
}

// setpriv is the command line before another, which then runs as that user. As a
// copy that root left set-user-ID, whoever runs it.
func (e *election) setpriv(uid int, setuid bool) []string {
	e.t.Helper()
	bin, err := exec.LookPath("setpriv")
	must(e.t, err)
	if setuid {
		bin = e.setuidCopy(bin)
	}
	return []string{bin, "--reuid", strconv.Itoa(uid), "--clear-groups", "--"}
}

func (e *election) setuidCopy(bin string) string {
	e.t.Helper()
	var fs unix.Statfs_t
	must(e.t, unix.Statfs(e.dir, &fs))
	if fs.Flags&unix.ST_NOSUID != 0 {
		without(e.t, "setuid", errors.New(e.dir+" is on a file system mounted nosuid"))
	}
	path := filepath.Join(e.dir, "setuid")
	from, err := os.Open(bin)
	must(e.t, err)
	to, err := os.Create(path)
	must(e.t, err)
	_, err = io.Copy(to, from)
	must(e.t, errors.Join(err, from.Close(), to.Close(), os.Chmod(path, os.ModeSetuid|0o755)))
	return path
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		without(t, "root", errors.New("not root"))
	}
}

// A child that may not be killed, having become another user: leaderrun says so, and
// gives nothing back while it lives. Renewals go on, so that nobody else leads.
// (Where leaderrun may make a cgroup, it may end whatever is in it.)
func TestUnkillable(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	needRoot(t)
	eachStore(t, func(s *store) {
		t := s.t
		ttl := max(ttl, s.shortest)
		e := newElection(t, s)
		e.forEveryone()
		root := append(e.setpriv(0, true), e.child()...)
		a, b, first := e.pair(
			spec{ttl: ttl, command: root, setup: asNobody, flags: []string{"--stop-timeout", "300ms"}},
			spec{ttl: ttl, setup: asNobody},
		)
		a.signal(t, unix.SIGTERM)
		told := a.says(t, unkillable, 1, patient)
		if pid := told.get("pid"); pid != strconv.Itoa(first.mains[0]) {
			t.Errorf("pid %s may not be killed, want %d", pid, first.mains[0])
		}
		staysTrue(t, "the child lives and nobody else leads", 2*ttl, func() bool {
			return e.beating(first) && e.of(b) == nil && !a.ended()
		})
		kill(t, unix.SIGKILL, first.mains[0])
		e.handedOver(first, e.leads(b, first), prompt)
		a.exits(t, 128+int(unix.SIGKILL), patient)
	})
}

// A child that drops root to another user is no longer killed by its guard's death
// (prctl(2): the parent-death signal is cleared). The supervisor kills it; with both
// killed, the sentinel does, where there is a cgroup.
func TestDroppedUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, c := range []struct {
		name              string
		supervisor, guard bool
	}{{"supervisor", true, false}, {"guard", false, true}, {"both", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ownCgroup(); err != nil && c.supervisor && c.guard {
				without(t, "cgroup", err)
			}
			e := newElection(t, fileStore(t))
			e.forEveryone()
			command := append(e.setpriv(nobody, false), e.wild()...)
			a, b, first := e.pair(spec{command: command}, spec{command: command}, everyRole...)
			pids := []int{}
			if guard := a.theGuard(t); c.guard {
				pids = append(pids, guard)
			}
			if c.supervisor {
				pids = append(pids, a.pid)
			}
			fault := now()
			kill(t, unix.SIGKILL, pids...)
			second := e.leads(b, first, everyRole...)
			e.diedAtOnce(first, fault)
			e.handedOver(first, second, prompt+settling)
		})
	}
}
