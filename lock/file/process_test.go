//go:build unix

package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"leaderrun/lock"
)

func notify(c chan<- os.Signal, sig os.Signal) { signal.Notify(c, sig) }

func isReplaced(err error) bool {
	return errors.Is(err, lock.ErrUnavailable) && errors.Is(err, lock.ErrLost)
}

// A holder that is killed costs nothing: the kernel hands the lock on. The next
// one ends what it left, which the record names.
func TestHolderKilled(t *testing.T) {
	path := t.TempDir()
	h := startHelper(t, path, "job", time.Hour)
	token := h.token(patient)
	s := openAt(t, path)
	if got, err := s.Locker("job").Holder(t.Context()); err != nil || got.Token != token {
		t.Fatalf("holder: %+v, %v", got, err)
	}
	var ended []lock.Record
	c := lock.Candidate{ID: "b", Orphans: func(_ context.Context, r lock.Record) error {
		ended = append(ended, r)
		return nil
	}, Notify: func(n lock.Notice) {
		if n.Kind == lock.StandingBy && n.Holder.Token == token {
			h.signal(syscall.SIGKILL)
		}
	}}
	l := acquire(t, s, "job", c, prompt)
	if l.Token() != token+1 {
		t.Errorf("token %d after %d", l.Token(), token)
	}
	pid := h.cmd.Process.Pid
	if len(ended) != 1 || ended[0].Token != token || ended[0].Host.Child != pid || ended[0].Host.Start != 7 {
		t.Errorf("ended %+v, want once the tenure of token %d with child %d", ended, token, pid)
	}
}

// A holder that was killed is not there any more, although its record says
// held.
func TestHolderKilledBehindNobody(t *testing.T) {
	path := t.TempDir()
	h := startHelper(t, path, "job", time.Hour)
	h.token(patient)
	h.kill()
	l := openAt(t, path).Locker("job").(*locker)
	if s, err := l.dir.read(); err != nil || s.Record.State != lock.Held {
		t.Errorf("record: %+v, %v", s.Record, err)
	}
	if got, err := l.Holder(t.Context()); err != nil || got != (lock.Holder{}) && runtime.GOOS == "linux" {
		t.Errorf("holder: %+v, %v", got, err)
	}
}

// A standby that is killed leaves no place in the queue.
func TestStandbyKilled(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	first := acquire(t, s, "job", lock.Candidate{ID: "a"}, prompt)
	b := startHelper(t, path, "job", time.Hour)
	b.says("standing by "+fmt.Sprint(first.Token()), patient)
	c := startHelper(t, path, "job", time.Hour)
	c.says("standing by", patient)
	b.kill()
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if token := c.token(prompt); token != first.Token()+1 {
		t.Errorf("token %d after %d", token, first.Token())
	}
}

// Processes that are killed at random leave neither two holders nor none.
func TestKilledAtRandom(t *testing.T) {
	path := t.TempDir()
	var last lock.Token
	helpers := []*helper{}
	for range 4 {
		helpers = append(helpers, startHelper(t, path, "job", time.Hour))
	}
	for round := range 12 {
		leader, token := firstToLead(t, helpers)
		if token <= last {
			t.Errorf("token %d after %d", token, last)
		}
		last = token
		if round%3 == 0 {
			_ = leader.stdin.Close()
		} else {
			leader.kill()
		}
		for i := range helpers {
			if helpers[i] == leader {
				helpers[i] = startHelper(t, path, "job", time.Hour)
			}
		}
	}
}
