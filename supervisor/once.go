//go:build unix

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/supervisor/guard"
)

// A call is what this process was started for, if that is one tick.
type call struct {
	name string    // of the tick
	tick time.Time // zero for a key
	next time.Time // when the next tick is due; zero for a key
}

// newCall reads the clock, once.
func newCall(j *Job) call {
	if j.Key != "" {
		return call{name: j.Key}
	}
	tick := j.Schedule.Tick(wallNow())
	return call{tickName(tick), tick, j.Schedule.Next(tick)}
}

const (
	// lookTimeout bounds a look at the records by who does not lead.
	lookTimeout = 3 * time.Second
	// seatPatience is how long a caller waits for the one of this host that is
	// waiting already: it may be about to end.
	seatPatience = 5 * time.Second
)

// queueOnce campaigns for as long as there is something to do for the caller's tick.
func (r *run) queueOnce(ctx context.Context) (lock.Lease, Outcome) {
	if over, _, _ := r.look(ctx); over != nil {
		return nil, r.say(over)
	}
	leave, over := r.takeSeat(ctx)
	defer leave()
	if over != nil {
		return nil, r.say(over)
	}
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	attended := make(chan *tickOver, 1)
	go func() {
		over := r.attend(waiting)
		if over != nil {
			cancel(errTickOver)
		}
		attended <- over
	}()
	lease, err := r.acquire(waiting)
	if err == nil {
		return lease, Outcome{} // which asks the records itself
	}
	if errors.Is(context.Cause(waiting), errTickOver) {
		return nil, r.say(<-attended)
	}
	return nil, r.notElected(err)
}

var errTickOver = errors.New("nothing left to do for the tick")

// A tickOver is the end of a caller who does not run the tick, and what is to be said
// of it.
type tickOver struct {
	out  Outcome
	kind Kind // TickSettled or TickSkipped
	why  string
}

func skipped(status int, why string) *tickOver {
	return &tickOver{Outcome{End: TickOver, Status: status}, TickSkipped, why}
}

func (r *run) say(over *tickOver) Outcome {
	if over.why != "" {
		r.Listen(Event{Kind: over.kind, Tick: r.call.name, Cause: over.why})
	}
	return over.out
}

// attend is done beside the campaign of a caller: it returns when the caller has
// nothing to wait for any more, or ctx is done.
func (r *run) attend(ctx context.Context) *tickOver {
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lock.Spread(time.Second, 2*time.Second)):
		}
		over, known, err := r.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case over != nil:
			return over
		case err != nil && r.call.late() && failing:
			return &tickOver{out: Outcome{End: NoStore, Err: fmt.Errorf("the next tick is due: %w", err)}}
		case err == nil && r.call.late() && !known:
			return skipped(-1, nextIsDue)
		}
		failing = err != nil
	}
}

const nextIsDue = "the next one is due"

// late reports whether the next tick is due.
func (c call) late() bool { return !c.next.IsZero() && !wallNow().Before(c.next) }

// look asks the store whether there is anything left to do for the caller's tick;
// known tells that somebody has started it.
func (r *run) look(ctx context.Context) (over *tickOver, known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	leader, err := r.Locker.Holder(ctx)
	var ts Ticks
	if err == nil {
		ts, err = r.ticks(ctx)
	}
	switch {
	case errors.Is(err, lock.ErrConfig), errors.Is(err, lock.ErrDenied):
		return &tickOver{out: Outcome{End: Failed, Err: err}}, false, err
	case err != nil:
		return nil, false, err
	}
	return r.Job.over(ts, r.call.name, &leader), ts.find(r.call.name).State != "", nil
}

// over is the end of a caller whose tick is not to be run by it, else nil.
func (j *Job) over(ts Ticks, name string, others *lock.Holder) *tickOver {
	switch v, status, why := j.judge(ts, name, others); v {
	case settled:
		return &tickOver{Outcome{End: TickOver}, TickSettled, why}
	case refused:
		return skipped(status, why)
	}
	return nil
}

// takeSeat lets one caller per host wait, and returns the end of the others.
func (r *run) takeSeat(ctx context.Context) (leave func(), over *tickOver) {
	for until := bootclock.Now().Add(seatPatience); ; {
		leave, ok := takeSeat(r.Seat)
		if ok {
			return leave, nil
		}
		if r.Candidate.Try || bootclock.Now() >= until {
			return leave, skipped(-1, "another leaderrun of this host waits for it")
		}
		select {
		case <-ctx.Done():
			return leave, &tickOver{out: Outcome{End: NotElected, Err: context.Cause(ctx)}}
		case <-time.After(200 * time.Millisecond):
		}
		if over, _, _ = r.look(ctx); over != nil && ctx.Err() == nil {
			return leave, over
		}
	}
}

// ticks reads the records of the job.
func (r *run) ticks(ctx context.Context) (Ticks, error) {
	key, _ := r.Job.value()
	b, err := r.Locker.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	ts, err := DecodeTicks(b)
	if err != nil {
		return nil, fmt.Errorf("value %q beside the lock: %w", key, err)
	}
	return ts, nil
}

// once runs the caller's tick, unless the records say that there is no need; and before
// it one that was interrupted and whose callers have all gone, as after an outage.
func (t *tenure) once() ending {
	ts, err := t.readTicks()
	if err != nil {
		return t.unrecorded(err)
	}
	name := t.call.name
	if over := t.Job.over(ts, name, nil); over != nil {
		return ends(t.say(over), "")
	}
	if ts.find(name).State == "" && t.call.late() {
		return ends(t.say(skipped(-1, nextIsDue)), "")
	}
	t.about = variables(t.call.tick, ts.find(name).Attempt+1)
	if !t.onElected() {
		return t.abandoned()
	}
	var res guard.Result
	if owed, ok := t.Job.owed(ts); ok && tickName(owed) != name {
		if ts, res, err = t.tick(ts, tickName(owed), owed); err != nil {
			return t.unrecorded(err)
		}
		end, over := t.over(res)
		_, again := t.Job.owed(ts)
		switch out := childEnded(res); {
		case t.told != 0:
			return t.abandoned()
		case over:
			return end
		case out.Interrupt:
			return ends(out, t.why(res))
		case again && !t.Candidate.Try:
			t.giveUp(fmt.Sprintf("the command failed with status %d", res.ExitCode()))
			return ending{last: t.cause}
		}
	}
	if ts, res, err = t.tick(ts, name, t.call.tick); err != nil {
		return t.unrecorded(err)
	}
	out, rec := childEnded(res), ts.find(name)
	end, over := t.over(res)
	switch {
	case over && rec.State != StateFinished:
		return end
	case out.Interrupt, rec.State != StateFailed, t.Job.Rerun != RerunFailed, rec.Attempt >= t.Job.Attempts, t.Candidate.Try:
		return ends(out, t.why(res))
	}
	t.giveUp(fmt.Sprintf("the command failed with status %d", res.ExitCode()))
	return ending{last: t.cause}
}

// unrecorded is the end of a tenure in which the records could not be read or
// written, so that nothing was started.
func (t *tenure) unrecorded(err error) ending {
	last := "records: " + err.Error()
	switch {
	case t.told != 0:
		return t.abandoned()
	case errors.Is(err, lock.ErrConfig), errors.Is(err, lock.ErrDenied):
		return ends(Outcome{End: Failed, Err: err}, last)
	case t.lease.Err() == nil:
		t.Listen(Event{Kind: Warning, Token: t.lease.Token(), Err: err})
	}
	return ending{last: last}
}

// tick makes one attempt at a tick and records its start before, and its end after.
// It returns the records, which are those in the store unless the end could not be
// written. An error means that nothing was started.
func (t *tenure) tick(ts Ticks, name string, due time.Time) (Ticks, guard.Result, error) {
	_, most := t.Job.value()
	startedAt := wallNow()
	rec := Tick{
		Name: name, State: StateStarted, Attempt: ts.find(name).Attempt + 1,
		Candidate: clip(t.Candidate.ID), Token: t.lease.Token(), Start: startedAt.UTC().Truncate(time.Second),
	}
	if !t.wait(0) {
		return ts, guard.Result{}, lock.ErrLost
	}
	if err := t.guard.Ping(); err != nil { // before an attempt is counted that cannot begin
		return ts, guard.Result{}, err
	}
	began := ts.with(rec, most)
	err := t.writeTicks(began)
	if t.told != 0 { // it may be written, or come to be
		if err := t.writeEnd(name, ts); err != nil {
			t.Listen(Event{Kind: TickUnrecorded, Token: rec.Token, Tick: name, Err: err})
		}
		return ts, guard.Result{}, lock.ErrLost
	}
	if err != nil {
		return ts, guard.Result{}, err
	}
	t.about = variables(due, rec.Attempt)
	t.Listen(Event{Kind: TickBegan, Token: rec.Token, Tick: name, Attempt: rec.Attempt})
	res := t.child(t.about...)
	done := ts // what was not started was no attempt: another host may be able to
	if res.Cause != guard.NotStarted {
		_, over := t.over(res)
		rec.Status = res.ExitCode()
		rec.State = ended(rec.Status, over)
		rec.End = wallNow().UTC().Truncate(time.Second)
		done = began
		if late := t.skippedSince(startedAt, name); late != "" && began.find(late).State == "" {
			t.Listen(Event{Kind: TickSkipped, Tick: late, Cause: "tick " + name + " was still running"})
			done = done.with(Tick{Name: late, State: StateSkipped}, most)
		}
		done = done.with(rec, most)
		t.Listen(Event{Kind: TickEnded, Token: rec.Token, Tick: name, Attempt: rec.Attempt, State: rec.State, Status: rec.Status})
	}
	if err := t.writeEnd(name, done); err != nil {
		t.Listen(Event{Kind: TickUnrecorded, Token: rec.Token, Tick: name, Err: err})
	}
	return done, res, nil
}

// variables tell a command, and the hooks, about the tick; due is zero for a key.
func variables(due time.Time, attempt int) []string {
	list := []string{fmt.Sprintf("LEADERRUN_ATTEMPT=%d", attempt)}
	if !due.IsZero() {
		list = append(list, "LEADERRUN_TICK="+due.Format(time.RFC3339Nano))
	}
	return list
}

// skippedSince names the latest tick that has come up since then, while the command
// of the tick of this name ran, if any. Earlier ones have had their callers, if any, who
// saw it running; ours is to be run.
func (t *tenure) skippedSince(then time.Time, name string) string {
	s := t.Job.Schedule
	if s == nil {
		return ""
	}
	now := s.Latest(wallNow())
	if late := tickName(now); now.After(s.Latest(then)) && late != name && late != t.call.name {
		return late
	}
	return ""
}

// readTicks reads the records, until the deadline as it is now: by then somebody else
// may be able to. So does writeTicks write them.
func (t *tenure) readTicks() (ts Ticks, err error) {
	ctx, cancel := t.untilDeadline()
	defer cancel()
	err = t.insist(ctx, 0, func(ctx context.Context) error {
		ts, err = t.ticks(ctx)
		return err
	})
	return ts, err
}

func (t *tenure) writeTicks(ts Ticks) error {
	ctx, cancel := t.untilDeadline()
	defer cancel()
	return t.insist(ctx, 0, func(ctx context.Context) error { return t.put(ctx, ts) })
}

func (t *tenure) untilDeadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), t.lease.ValidUntil().Until())
}

// writeEnd tries for as long as we lead and, after a signal to stop, for the stop
// time-out: nobody else can tell how the tick of this name ended. It is said once that it
// takes more than one attempt: meanwhile the lock is held, and nothing runs.
func (t *tenure) writeEnd(name string, ts Ticks) error {
	said := false
	return t.insist(context.Background(), t.StopTimeout, func(ctx context.Context) error {
		err := t.put(ctx, ts)
		if err != nil && !said {
			said = true
			t.Listen(Event{Kind: Warning, Token: t.lease.Token(), Err: fmt.Errorf("record the end of %s, tried again while we lead: %w", name, err)})
		}
		return err
	})
}

func (t *tenure) put(ctx context.Context, ts Ticks) error {
	key, _ := t.Job.value()
	return t.lease.Put(ctx, key, ts.Encode())
}

// insist repeats a request to the store until it is answered, ctx is done, the tenure
// lost, or leaderrun was told to stop and its patience is over.
func (t *tenure) insist(ctx context.Context, patience time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		for pause := lock.NewPause(); ; {
			once, done := context.WithTimeout(ctx, lookTimeout)
			err := ask(once)
			done()
			final := errors.Is(err, lock.ErrLost) || errors.Is(err, lock.ErrConfig) || errors.Is(err, lock.ErrDenied)
			if err == nil || final || ctx.Err() != nil {
				answer <- err
				return
			}
			pause.Wait(ctx)
		}
	}()
	lost := t.lease.Lost()
	var late <-chan time.Time
	if t.told != 0 {
		late = time.After(patience)
	}
	for {
		select {
		case err := <-answer:
			return err
		case <-lost:
			lost = nil
			cancel()
		case <-late:
			cancel()
		case sig := <-t.signals:
			if !t.endsStandby(sig) {
				continue
			}
			if late = time.After(patience); t.told != 0 { // the second one does not wait
				cancel()
			}
			t.toldTo(sig.(syscall.Signal))
		}
	}
}

// clip shortens a candidate's name to what the records hold.
func clip(id string) string {
	return strings.ToValidUTF8(id[:min(len(id), maxTickCandidate)], "")
}
