//go:build unix

package file

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"leaderrun/lock"
)

// lookEvery is how often a standby looks who leads. It polls a small directory
// rather than watch it: inotify instances are few (128 per user by default),
// and a host may have more candidates than that.
const lookEvery = 250 * time.Millisecond

// A campaign is one call of Acquire.
type campaign struct {
	*locker
	lock.Candidate
	file  *lockFile
	owner string // names the tenure to be
}

// Acquire implements lock.Locker.
//
// A lock file that is deleted or replaced ends the campaign with an error, for
// the guard holds the descriptor of that one; it wraps lock.ErrUnavailable and
// lock.ErrLost, and the next campaign opens the new file.
func (l *locker) Acquire(ctx context.Context, c lock.Candidate) (lock.Lease, error) {
	if c.Notify == nil {
		c.Notify = func(lock.Notice) {}
	}
	if l.bad != nil {
		return nil, l.bad
	}
	if _, err := lock.NewTiming(c.TTL, c.Grace); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := l.yield(ctx); err != nil {
		return nil, err
	}
	if l.store.warn != nil {
		l.store.warned.Do(func() { c.Notify(lock.Notice{Kind: lock.Warning, Err: l.store.warn}) })
	}
	if err := l.dir.make(); err != nil {
		return nil, err
	}
	f, err := openLock(l.path)
	if err != nil {
		return nil, err
	}
	q := &campaign{l, c, f, randomName()}
	if c.Enqueue != nil {
		if err := c.Enqueue(l.ticket(q.owner, f)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return q.run(ctx)
}

// yieldFor is how long others need to see that the lock file was replaced, and
// to campaign again.
const yieldFor = lookEvery + 250*time.Millisecond

// yield lets those go first who waited while we led: the queue went with the
// lock file, and we know first of all that it is gone.
func (l *locker) yield(ctx context.Context) error {
	ended, ok := l.store.taken.LoadAndDelete(l.name)
	if !ok {
		return nil
	}
	select {
	case <-time.After(time.Until(ended.(time.Time).Add(yieldFor))):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run gets the lock and wins the election, or closes the file.
func (q *campaign) run(ctx context.Context) (lock.Lease, error) {
	locked, err := q.file.try()
	if err == nil && !locked && q.Try {
		err = lock.ErrHeld
	}
	if err != nil {
		return nil, errors.Join(err, q.file.Close())
	}
	if !locked {
		if err := q.standBy(ctx); err != nil {
			return nil, err
		}
	}
	lease, err := q.win(ctx)
	if err != nil {
		q.file.giveBack()
		return nil, replaced(err)
	}
	return lease, nil
}

// replaced makes the loss of the lock file in a campaign an error to try again
// after.
func replaced(err error) error {
	if errors.Is(err, lock.ErrLost) {
		return fmt.Errorf("%w: campaign: %w", lock.ErrUnavailable, err)
	}
	return err
}

// standBy returns nil once the lock is ours. After an error the file is closed
// or will be.
func (q *campaign) standBy(ctx context.Context) error {
	timing, _ := lock.NewTiming(q.TTL, 0)
	stay, leave := context.WithCancel(ctx)
	left := q.showPlace(stay, timing.Interval)
	err := q.await(ctx, timing.Interval)
	leave()
	if err != nil { // who has won does not wait for a disk
		select {
		case <-left:
		case <-time.After(leaveTime):
		}
	}
	return err
}

// await waits for the lock, and says every now and then that all is well.
func (q *campaign) await(ctx context.Context, every time.Duration) error {
	turn := q.file.queue()
	w := &watcher{campaign: q, state: reader{dir: q.dir}, every: every}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := w.look(ctx); err != nil {
			turn.leave()
			return replaced(err)
		}
		select {
		case err := <-turn.granted:
			if err != nil {
				turn.leave()
				return unavailable("wait for lock", err)
			}
			return nil
		case <-ctx.Done():
			turn.leave()
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// A watcher is what a standby knows of the holder.
type watcher struct {
	*campaign
	state  reader
	told   bool
	holder lock.Holder // as told
	pulse  pulse

	every time.Duration // between two signs that all is well
	signs time.Time     // of the latest
}

// look tells who leads when that has changed, and returns an error if it makes
// no sense to wait any longer in this queue.
func (w *watcher) look(ctx context.Context) error {
	began := time.Now()
	s, unread := w.state.read()
	if unread == nil || !w.told { // whoever wins will see what is wrong with it
		w.tell(s.Record)
	}
	if unread == nil {
		w.remember(s)
	}
	if err := w.file.inPlace(); errors.Is(err, lock.ErrLost) {
		return err
	}
	b, beating, err := readHeartbeat(w.file.File)
	if now := time.Now(); errors.Join(unread, err) == nil && now.Sub(w.signs) >= w.every {
		w.signs = now
		w.Notify(lock.Notice{Kind: lock.Renewed, Took: now.Sub(began), Every: w.every + lookEvery})
	}
	if err == nil && w.pulse.stopped(b, beating, time.Now()) {
		return w.breakLock(ctx, b)
	}
	return nil
}

func (w *watcher) tell(r lock.Record) {
	holder := lock.Holder{}
	if r.State == lock.Held {
		holder = r.Holder
	}
	if w.told && holder.Token == w.holder.Token {
		return
	}
	w.told, w.holder = true, holder
	w.Notify(lock.Notice{Kind: lock.StandingBy, Holder: holder})
}

// randomName returns 128 random bits.
func randomName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
