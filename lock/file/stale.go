//go:build unix

package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// slack is how much longer than its TTL a lease may go without a beat before
// the lock is taken from its holder: long enough for a guard that lives to
// give the lock back itself, which it does a second after its tree is dead.
const slack = 2 * time.Second

// A pulse tells a holder that is frozen from one that lives.
//
// It compares no clocks: what counts is how long *this* process saw the same
// beat. The holder's deadline is not later than its beat plus the TTL, and it
// was seen after that. Time is Go's own, which stops in suspend, so that a
// machine that wakes up does not at once take its holder for frozen.
type pulse struct {
	seen  beat
	since time.Time
}

func (p *pulse) stopped(b beat, beating bool, now time.Time) bool {
	if !beating || b != p.seen || p.since.IsZero() {
		p.seen, p.since = b, now
		return false
	}
	return now.Sub(p.since) >= b.ttl+slack
}

// breakLock takes the lock from a holder whose lease has ended but who, frozen
// with its guard, cannot give it back: nobody else can unlock its file, but
// the lock file can be replaced. It ends what that holder left running before,
// so that all of it that can be found is dead once others can lead. The
// holder, should it go on, finds its deadline passed.
//
// One at a time: of two that delete the file, the second would delete the new
// one. The lock that sees to this is not waited for; its holder, frozen,
// prevents only this.
//
// It returns nil if it was not needed any more.
func (w *watcher) breakLock(ctx context.Context, seen beat) error {
	d, err := os.Open(string(w.dir))
	if err != nil {
		return unavailable("take lock from frozen holder", err)
	}
	defer func() { _ = d.Close() }()
	only := &lockFile{File: d}
	if ok, err := only.try(); !ok {
		return err
	}
	defer func() { _ = only.flock(unix.LOCK_UN) }()

	s, err := w.dir.read()
	if err != nil {
		return err
	}
	r := s.Record
	if r.State == lock.Held && s.Lock == w.file.id {
		if err := w.endOrphans(ctx, r); err != nil {
			return err
		}
	}
	if b, beating, err := readHeartbeat(w.file.File); err != nil || !beating || b != seen || w.file.inPlace() != nil {
		return err
	}
	if err := os.Remove(w.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return unavailable("take lock from frozen holder", err)
	}
	w.store.expired.Store(w.name, r.Owner)
	return fmt.Errorf("%w: its holder (%s, token %d) is frozen and its lease over", lock.ErrLost, r.Holder.ID, r.Token)
}

// endOrphans ends what a dead tenure of this boot left running.
func (q *campaign) endOrphans(ctx context.Context, r lock.Record) error {
	if q.Orphans == nil || !q.sameBoot(r) {
		return nil // a boot ends all
	}
	host := *r.Host
	if host.PIDNS != q.store.pidNS {
		host.Child, host.Start = 0, 0 // the number means another process here
	}
	r.Host = &host
	if err := q.Orphans(ctx, r); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return unavailable("end what the tenure before left", err)
	}
	return nil
}
