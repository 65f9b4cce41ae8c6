//go:build unix

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
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
		r.Listen(Event{Kind: Waiting})
		if over, _, _ = r.look(ctx); over != nil && ctx.Err() == nil {
			return leave, over
		}
	}
}

// ticks reads the records of the job.
func (r *run) ticks(ctx context.Context) (Ticks, error) {
	key, _ := r.Job.value()
	return ReadTicks(ctx, r.Locker, key)
}

// ReadTicks reads TicksValue or KeysValue.
func ReadTicks(ctx context.Context, records lock.Records, key string) (Ticks, error) {
	b, err := records.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	ts, err := DecodeTicks(b)
	if err != nil {
		return nil, fmt.Errorf("value %q beside the lock: %w", key, err)
	}
	return ts, nil
}
