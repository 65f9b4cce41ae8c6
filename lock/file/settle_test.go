//go:build unix

package file

import (
	"context"
	"errors"
	"testing"
	"time"

	"leaderrun/lock"
)

// leaveHeld makes a tenure, records its child and lets go of the lock as
// killed processes do: without a word.
func leaveHeld(t *testing.T, s lock.Store) (token lock.Token) {
	t.Helper()
	l := acquire(t, s, "job", lock.Candidate{ID: "a"}, prompt)
	if err := l.RecordChild(4711, 42); err != nil {
		t.Fatal(err)
	}
	l.Stop()
	l.unwatch()
	<-l.watched
	l.session.file.giveBack()
	return l.Token()
}

// What a winner does about a record that says held, by what it says.
func TestHeldRecord(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*store)
		orphans bool
		child   int
		settles time.Duration
	}{
		{"same boot", func(*store) {}, true, 4711, 0},
		{"another boot", func(s *store) { s.boot = "another" }, false, 0, 0},
		{"another PID namespace", func(s *store) { s.pidNS = "pid:[1]" }, true, 0, lock.SettleTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir()
			s := openAt(t, path)
			token := leaveHeld(t, s)
			next := openAt(t, path).(*store)
			c.change(next)
			var ended []lock.Record
			began := time.Now()
			l := acquire(t, next, "job", lock.Candidate{ID: "b", Orphans: func(_ context.Context, r lock.Record) error {
				ended = append(ended, r)
				return nil
			}}, c.settles+prompt)
			if took := time.Since(began); took < c.settles {
				t.Errorf("settled after %v, want %v", took, c.settles)
			}
			if l.Token() != token+1 {
				t.Errorf("token %d after %d", l.Token(), token)
			}
			switch {
			case !c.orphans && len(ended) != 0:
				t.Errorf("ended orphans of %+v", ended)
			case c.orphans && (len(ended) != 1 || ended[0].Host.Child != c.child || ended[0].Token != token):
				t.Errorf("ended orphans of %+v, want token %d, child %d", ended, token, c.child)
			}
		})
	}
}

// A winner that cannot settle leaves the record as it was and the lock free.
func TestNotSettled(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	token := leaveHeld(t, s)
	why := errors.New("told to stop")
	for _, c := range []struct{ orphans, want error }{
		{errors.New("unkillable"), lock.ErrUnavailable},
		{context.Canceled, why},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := s.Locker("job").Acquire(ctx, lock.Candidate{ID: "b", TTL: time.Second, Orphans: func(context.Context, lock.Record) error {
			if errors.Is(c.orphans, context.Canceled) {
				cancel(why)
			}
			return c.orphans
		}})
		cancel(nil)
		if !errors.Is(err, c.want) {
			t.Errorf("acquire: %v, want %v", err, c.want)
		}
		l := s.(*store).locker("job")
		if r := l.dir.mustRead(t).Record; r.State != lock.Held || r.Token != token {
			t.Errorf("record: %+v", r)
		}
		f := mustOpenLock(t, l.path)
		if ok, err := f.try(); !ok || err != nil {
			t.Errorf("the lock was not given back: %v, %v", ok, err)
		}
		f.giveBack()
	}
}

// While a winner settles, nobody takes it for frozen, however long.
func TestSettlesLong(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := openAt(t, path)
	leaveHeld(t, s)
	const ttl = time.Second
	settling := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		l, err := s.Locker("job").Acquire(context.Background(), lock.Candidate{ID: "b", TTL: ttl, Orphans: func(context.Context, lock.Record) error {
			close(settling)
			<-time.After(ttl + slack + time.Second)
			return nil
		}})
		if err != nil {
			t.Errorf("the one that settles: %v", err)
			return
		}
		_ = l.Release(context.Background())
	}()
	<-settling
	l := acquire(t, s, "job", lock.Candidate{ID: "c", TTL: ttl}, patient)
	<-done
	if l.Token() != 3 {
		t.Errorf("token %d, want 3", l.Token())
	}
}

func TestPulse(t *testing.T) {
	var p pulse
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	const ttl = 5 * time.Second
	for _, step := range []struct {
		b       beat
		beating bool
		now     time.Duration
		want    bool
	}{
		{beat{}, false, 0, false},
		{beat{}, false, time.Hour, false}, // no heartbeat at all: it may be flock(1)
		{beat{1, ttl}, true, time.Hour, false},
		{beat{1, ttl}, true, time.Hour + ttl + slack - 1, false},
		{beat{2, ttl}, true, time.Hour + ttl + slack, false},
		{beat{2, ttl}, true, time.Hour + 2*(ttl+slack) - 1, false},
		{beat{2, ttl}, true, time.Hour + 2*(ttl+slack), true},
		{beat{}, false, 2 * time.Hour, false},
		{beat{2, ttl}, true, 2*time.Hour + 1, false},
	} {
		if got := p.stopped(step.b, step.beating, at(step.now)); got != step.want {
			t.Errorf("%+v at %v: %v, want %v", step.b, step.now, got, step.want)
		}
	}
}
