//go:build unix

package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"leaderrun/lock"
)

// While a guard has the open file, the lock is held, whatever becomes of the
// supervisor.
func TestGuardKeepsLock(t *testing.T) {
	path := t.TempDir()
	h := startHelper(t, path, "job", time.Hour, "LEADERRUN_TEST_GUARD=1")
	guard := guardOf(t, h)
	h.token(patient)
	h.kill()
	f, err := openLock(filepath.Join(path, "job.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if ok, err := f.try(); ok || err != nil {
		t.Fatalf("locked: %v, %v; but the guard lives", ok, err)
	}
	if err := guard.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	turn := f.queue()
	select {
	case err := <-turn.granted:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(prompt):
		t.Fatal("the guard's release did not free the lock")
	}
	if said := h.says("given back", prompt); said != "<nil>" {
		t.Errorf("guard: %s", said)
	}
	if s, err := dir(filepath.Join(path, "job.d")).read(); err != nil || s.Record.State != lock.Clean {
		t.Errorf("record: %+v, %v", s.Record, err)
	}
}

func guardOf(t *testing.T, h *helper) *os.Process {
	t.Helper()
	pid, err := strconv.Atoi(h.says("guard", patient))
	if err != nil {
		t.Fatal(err)
	}
	guard, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guard.Kill() })
	return guard
}

// The guard of a frozen supervisor unlocks for it; going on, it finds its
// tenure lost and does no harm.
func TestSupervisorFrozen(t *testing.T) {
	path := t.TempDir()
	h := startHelper(t, path, "job", time.Hour, "LEADERRUN_TEST_GUARD=1")
	guard := guardOf(t, h)
	token := h.token(patient)
	h.signal(syscall.SIGSTOP)
	s := openAt(t, path)
	c := lock.Candidate{ID: "b", Notify: func(n lock.Notice) {
		if n.Kind == lock.StandingBy && n.Holder.Token == token {
			_ = guard.Signal(syscall.SIGUSR1)
		}
	}}
	l := acquire(t, s, "job", c, prompt)
	h.signal(syscall.SIGCONT)
	h.says("lost", patient)
	if said := h.says("released", patient); said != "<nil>" {
		t.Errorf("release after the loss: %s", said)
	}
	stillHeld(t, l)
}

func stillHeld(t *testing.T, l *lease) {
	t.Helper()
	if err := l.session.check(); err != nil {
		t.Error(err)
	}
	f, err := openLock(l.session.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if ok, err := f.try(); ok || err != nil {
		t.Errorf("locked by another: %v, %v", ok, err)
	}
}

// Nobody can unlock for a supervisor and a guard that are frozen together: when
// the lease has ended, and two seconds after, the lock file is replaced.
func TestBothFrozen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("holders have no heartbeat on this system")
	}
	t.Parallel()
	const ttl = time.Second
	path := t.TempDir()
	h := startHelper(t, path, "job", ttl)
	token := h.token(patient)
	s := openAt(t, path)
	info, err := os.Stat(path + "/job.lock")
	if err != nil {
		t.Fatal(err)
	}
	holders := idOf(info)
	var frozen time.Time
	ended := 0
	c := lock.Candidate{ID: "b", Orphans: func(_ context.Context, r lock.Record) error {
		if r.Token == token {
			ended++
		}
		if info, err := os.Stat(path + "/job.lock"); ended == 1 && (err != nil || idOf(info) != holders) {
			t.Errorf("others can lead before what the frozen one left is ended: %v", err)
		}
		return nil
	}, Notify: func(n lock.Notice) {
		if n.Kind == lock.StandingBy && n.Holder.Token == token {
			h.signal(syscall.SIGSTOP)
			frozen = time.Now()
		}
	}}
	l := acquire(t, s, "job", c, patient)
	took := time.Since(frozen)
	t.Logf("took over after %v", took)
	if took < ttl || took > ttl+slack+prompt {
		t.Errorf("took over after %v from a frozen holder with a TTL of %v", took, ttl)
	}
	if ended == 0 || l.Token() != token+1 {
		t.Errorf("ended orphans %d times, token %d after %d", ended, l.Token(), token)
	}
	h.signal(syscall.SIGCONT)
	h.says("lost", patient)
	h.says("released", patient)
	stillHeld(t, l)
}

// Of several that wait behind a frozen holder, one takes its lock, and the
// others wait on.
func TestBothFrozenBeforeQueue(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("holders have no heartbeat on this system")
	}
	t.Parallel()
	const ttl = time.Second
	path := t.TempDir()
	frozen := startHelper(t, path, "job", ttl)
	last := frozen.token(patient)
	var waiting []*helper
	for range 3 {
		h := startHelper(t, path, "job", ttl)
		h.says("standing by "+fmt.Sprint(last), patient)
		waiting = append(waiting, h)
	}
	frozen.signal(syscall.SIGSTOP)
	for len(waiting) > 0 {
		leader, token := firstToLead(t, waiting)
		if token <= last {
			t.Errorf("token %d after %d", token, last)
		}
		last = token
		waiting = slices.DeleteFunc(waiting, func(h *helper) bool { return h == leader })
		for _, h := range waiting {
			h.says("standing by "+fmt.Sprint(token), patient)
		}
		for quiet := time.After(300 * time.Millisecond); quiet != nil; {
			select {
			case line := <-leader.lines:
				if strings.HasPrefix(line, "lost") {
					t.Errorf("the one that took the lock: %s", line)
				}
			case <-quiet:
				quiet = nil
			}
		}
		leader.kill()
	}
}

// A holder that renews keeps its lock from those who wait, however long.
func TestNotTakenForFrozen(t *testing.T) {
	t.Parallel()
	const ttl = time.Second
	path := t.TempDir()
	s := openAt(t, path)
	first := acquire(t, s, "job", lock.Candidate{ID: "a", TTL: ttl}, prompt)
	ctx, cancel := context.WithTimeout(t.Context(), 2*ttl+2*slack)
	defer cancel()
	if _, err := s.Locker("job").Acquire(ctx, lock.Candidate{ID: "b", TTL: ttl}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("acquire: %v", err)
	}
	stillHeld(t, first)
}
