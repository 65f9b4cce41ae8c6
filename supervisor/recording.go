//go:build unix

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"leaderrun/lock"
)

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
