//go:build linux

package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"leaderrun/lock"
)

// A recordStore is a fake store with one value, whose first tenure is given. Before
// each Put it calls put, which may refuse it.
type recordStore struct {
	fakeLocker
	*fakeLease
	value []byte
	puts  []Ticks
	put   func(n int) error
	lands bool // what is refused is stored all the same
}

func (s *recordStore) Get(context.Context, string) ([]byte, error) { return s.value, nil }
func (s *recordStore) Holder(context.Context) (lock.Holder, error) { return lock.Holder{}, nil }

func (s *recordStore) Put(_ context.Context, _ string, value []byte) error {
	refused := s.put(len(s.puts))
	if refused != nil && !s.lands {
		return refused
	}
	ts, err := DecodeTicks(value)
	s.value, s.puts = value, append(s.puts, ts)
	return errors.Join(refused, err)
}

// migration is a --once-for of a script, whose records are in the store.
func migration(t *testing.T, r *recorder, script string, put func(n int) error) (Config, *recordStore) {
	t.Helper()
	s := &recordStore{fakeLease: leaseFor(time.Minute), put: put}
	s.answers = append(s.answers, func(context.Context) (lock.Lease, error) { return s, nil })
	c := config(t, r, script)
	c.Locker = s
	c.Job = Job{Key: "k", Rerun: RerunInterrupted, Attempts: 3}
	c.Seat = t.Name()
	return c, s
}

func anyPut(int) error { return nil }

func terminate(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-time.After(50 * time.Millisecond) // until it was read
}

// TERM while the start is recorded: nothing is started, and no attempt counted.
func TestStoppedBeforeTheStart(t *testing.T) {
	r := &recorder{}
	c, s := migration(t, r, "exit 3", func(n int) error {
		if n == 0 {
			terminate(t)
		}
		return nil
	})
	out := Run(c)
	if out.End != Interrupted || out.Status != 128+15 || r.saw(ChildStarted) {
		t.Errorf("outcome %+v, events %v", out, r.kinds)
	}
	if last := s.puts[len(s.puts)-1]; len(last) != 0 {
		t.Errorf("recorded as %+v", last)
	}
}

// TERM while the end is recorded does not keep it from that.
func TestStoppedAfterTheEnd(t *testing.T) {
	r := &recorder{}
	refusals := 0
	c, s := migration(t, r, "exit 0", func(n int) error {
		if n == 1 && refusals < 3 {
			if refusals++; refusals == 1 {
				terminate(t)
			}
			return lock.ErrUnavailable
		}
		return nil
	})
	out := Run(c)
	if out.End != ChildEnded || out.Status != 0 || s.puts[1].find("k").State != StateFinished {
		t.Errorf("outcome %+v, records %+v", out, s.puts)
	}
}

// A store that takes the end no more is not waited for without end once leaderrun is
// told to stop; what finished is not run again for that.
func TestEndIsNotRecorded(t *testing.T) {
	r := &recorder{}
	c, s := migration(t, r, "exit 0", func(n int) error {
		if n == 1 {
			return lock.ErrUnavailable
		}
		return nil
	})
	r.on = map[Kind]func(Event){TickEnded: func(Event) { go terminate(t) }}
	began := time.Now()
	out := Run(c)
	if took := time.Since(began); took < c.StopTimeout || took > c.StopTimeout+lookTimeout {
		t.Errorf("ended after %v", took)
	}
	if out.End != ChildEnded || out.Status != 0 || !r.saw(Warning, TickUnrecorded) || s.puts[0].find("k").State != StateStarted {
		t.Errorf("outcome %+v, events %v, records %+v", out, r.kinds, s.puts)
	}
}

// What cannot be executed here is no attempt.
func TestNotStartedIsNoAttempt(t *testing.T) {
	r := &recorder{}
	c, s := migration(t, r, "", anyPut)
	c.Path = filepath.Join(t.TempDir(), "none")
	out := Run(c)
	if out.End != NotStarted || !errors.Is(out.Err, syscall.ENOENT) {
		t.Errorf("outcome %+v", out)
	}
	if last := s.puts[len(s.puts)-1]; len(last) != 0 {
		t.Errorf("recorded as %+v", last)
	}
}

// A record that may not be written ends leaderrun, with the reason.
func TestRecordsDenied(t *testing.T) {
	r := &recorder{}
	c, _ := migration(t, r, "", func(int) error { return lock.ErrDenied })
	if out := Run(c); out.End != Failed || !errors.Is(out.Err, lock.ErrDenied) || r.saw(ChildStarted) {
		t.Errorf("outcome %+v, events %v", out, r.kinds)
	}
}

// Somebody of this host waits already.
func TestSeatIsTaken(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		end    End
		least  time.Duration
	}{
		{"try", func(c *Config) { c.Candidate.Try = true }, TickOver, 0},
		{"wait", func(c *Config) { c.Wait = 300 * time.Millisecond }, NotElected, 300 * time.Millisecond},
		{"neither", func(*Config) {}, TickOver, seatPatience},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{}
			config, _ := migration(t, r, "exit 0", anyPut)
			c.change(&config)
			leave, ok := takeSeat(config.Seat)
			defer leave()
			if !ok {
				t.Fatal("the seat is taken already")
			}
			began := time.Now()
			out := Run(config)
			if took := time.Since(began); out.End != c.end || took < c.least || took > c.least+2*time.Second {
				t.Errorf("outcome %+v after %v", out, took)
			}
			if c.end == TickOver && (out.Status != -1 || !r.saw(TickSkipped)) {
				t.Errorf("outcome %+v, events %v", out, r.kinds)
			}
		})
	}
}

// Left, a seat is free again, at once.
func TestSeat(t *testing.T) {
	for range 2 {
		leave, ok := takeSeat(t.Name())
		if !ok {
			t.Fatal("a free seat was not given")
		}
		other, free := takeSeat(t.Name() + "2")
		if other(); !free {
			t.Error("another seat was not given")
		}
		if _, second := takeSeat(t.Name()); second {
			t.Error("a taken seat was given")
		}
		leave()
	}
}

// A tenure that is given up ends leaderrun under --try; --exit-on-loss is for losses.
func TestGivingUp(t *testing.T) {
	r := &recorder{}
	c := config(t, r, "exit 0", leaseFor(time.Minute).acquire)
	c.Hooks = Hooks{OnElected: "exit 1", Timeout: time.Second}
	c.Candidate.Try = true
	if out := Run(c); out.End != GaveUp || r.saw(ChildStarted) {
		t.Errorf("outcome %+v under Try", out)
	}
	c = config(t, r, "exit 0", leaseFor(time.Minute).acquire, held)
	c.Locker = &freeLocker{c.Locker.(*fakeLocker)}
	c.Hooks = Hooks{OnElected: "exit 1", Timeout: time.Second}
	c.ExitOnLoss = true
	if out := Run(c); out.End != NotElected {
		t.Errorf("outcome %+v under ExitOnLoss", out)
	}
}

type freeLocker struct{ *fakeLocker }

func (freeLocker) Holder(context.Context) (lock.Holder, error) { return lock.Holder{}, nil }

// The hooks know which attempt it is, as the command does.
func TestHooksKnowTheAttempt(t *testing.T) {
	r := &recorder{}
	c, s := migration(t, r, `[ "$LEADERRUN_ATTEMPT" = 2 ]`, anyPut)
	s.value = Ticks{{Name: "k", State: StateInterrupted, Attempt: 1}}.Encode()
	c.Hooks = Hooks{OnElected: `[ "$LEADERRUN_ATTEMPT" = 2 ]`, OnLost: `[ "$LEADERRUN_ATTEMPT" = 2 ]`, Timeout: time.Second}
	if out := Run(c); out.End != ChildEnded || out.Status != 0 || r.saw(HookFailed) {
		t.Errorf("outcome %+v, events %v", out, r.kinds)
	}
}

// A start that may have been written before TERM came is withdrawn.
func TestStoppedWhileTheStartIsWritten(t *testing.T) {
	r := &recorder{}
	c, s := migration(t, r, "exit 3", func(n int) error {
		if n > 0 {
			return nil
		}
		terminate(t)
		return lock.ErrUnavailable
	})
	s.lands = true
	out := Run(c)
	if last := s.puts[len(s.puts)-1]; len(last) != 0 || len(s.puts) != 2 || out.End != Interrupted || r.saw(ChildStarted) {
		t.Errorf("outcome %+v, events %v, records %+v", out, r.kinds, s.puts)
	}
}

// What stops --on-elected because renewals fail is the end of the tenure, whatever the
// hook makes of it.
func TestLosingInTheHook(t *testing.T) {
	for _, hook := range []string{"trap '' TERM; sleep 1", "sleep 1"} {
		r := &recorder{}
		c := config(t, r, "exit 0", leaseFor(1500*time.Millisecond).acquire, held)
		c.Hooks = Hooks{OnElected: hook, Timeout: 5 * time.Second}
		if out := Run(c); out.End != NotElected || r.saw(ChildStarted) || r.saw(GivingUp) {
			t.Errorf("%s: outcome %+v, events %v", hook, out, r.kinds)
		}
	}
}

// A hook that is stopped because leaderrun is has not failed.
func TestStoppedInTheHook(t *testing.T) {
	r := &recorder{on: map[Kind]func(Event){Elected: func(Event) {
		go func() {
			<-time.After(300 * time.Millisecond) // the hook runs
			terminate(t)
		}()
	}}}
	c := config(t, r, "exit 0", leaseFor(time.Minute).acquire)
	c.Hooks = Hooks{OnElected: "exec sleep 5", Timeout: 5 * time.Second}
	if out := Run(c); out.End != Interrupted || out.Status != 128+15 || r.saw(HookFailed) || r.saw(ChildStarted) {
		t.Errorf("outcome %+v, events %v", out, r.kinds)
	}
}

// --on-lost may use the loss grace.
func TestOnLostInTheGrace(t *testing.T) {
	lease := leaseFor(1800 * time.Millisecond) // no renewal is answered
	r := &recorder{}
	c := config(t, r, "exit 0", lease.acquire)
	c.Hooks = Hooks{OnLost: "sleep 0.9", Timeout: time.Second}
	if out := Run(c); out.End != ChildEnded || r.saw(HookFailed) || r.saw(HookSkipped) || r.saw(ChildStopping) {
		t.Errorf("outcome %+v, events %v", out, r.kinds)
	}
}
