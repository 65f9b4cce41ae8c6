//go:build unix

package file

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"leaderrun/lock"
)

var (
	_ lock.Lease         = (*lease)(nil)
	_ lock.ChildRecorder = (*lease)(nil)
	_ lock.Session       = (*session)(nil)
)

// watchEvery is how often a holder looks whether the lock is still its own.
const watchEvery = 100 * time.Millisecond

// A session sees to it that the lock is ours. That nobody else has locked the
// file is the kernel's word; what can change is which file that is, and whose
// record stands beside it.
type session struct {
	*locker
	file  *lockFile
	heart *heartbeat
	owner string
	ttl   time.Duration
	gone  chan error

	mu    sync.Mutex
	state reader
}

// Renew implements lock.Session.
func (s *session) Renew(ctx context.Context) (time.Duration, error) {
	return within(ctx, "renew", func() (time.Duration, error) {
		if err := s.check(); err != nil {
			return 0, err
		}
		if err := s.heart.beat(); err != nil {
			return 0, unavailable("lock "+s.path, err)
		}
		return s.ttl, nil
	})
}

// Gone implements lock.Session.
func (s *session) Gone() <-chan error { return s.gone }

// check returns an error that wraps lock.ErrLost if the lock is not ours.
func (s *session) check() error {
	if err := s.file.inPlace(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.state.read()
	if err != nil {
		return err
	}
	return s.owns(&st)
}

func (s *session) owns(st *state) error {
	switch r := st.Record; {
	case r.State == "":
		return fmt.Errorf("%w: %s was deleted", lock.ErrLost, s.dir)
	case r.Owner != s.owner:
		return fmt.Errorf("%w: %s leads with token %d", lock.ErrLost, r.Holder.ID, r.Token)
	case r.State != lock.Held:
		return fmt.Errorf("%w: it was given back", lock.ErrLost)
	}
	return nil
}

// A lease is one tenure.
type lease struct {
	*lock.Keeper
	session  *session
	token    lock.Token
	previous lock.Record
	requests chan lock.Request
	unwatch  context.CancelFunc
	watched  chan struct{} // closed when nobody watches any more

	release  sync.Mutex
	handover *lock.Handover
	closed   bool
}

// keep makes a lease of the lock.
func (q *campaign) keep(heart *heartbeat, g lock.Grant, token lock.Token, previous lock.Record) (*lease, error) {
	s := &session{
		locker: q.locker, file: q.file, heart: heart, owner: q.owner, ttl: q.TTL,
		gone: make(chan error, 1), state: reader{dir: q.dir},
	}
	k, err := lock.Keep(s, g, q.Candidate)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &lease{
		Keeper: k, session: s, token: token, previous: previous, requests: make(chan lock.Request, 1),
		unwatch: cancel, watched: make(chan struct{}),
	}
	go l.watch(ctx)
	return l, nil
}

// watch looks for the loss of the lock, and for requests, until ctx is done.
func (l *lease) watch(ctx context.Context) {
	defer close(l.watched)
	in := inbox{dir: l.session.dir, token: l.token}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := l.session.check(); errors.Is(err, lock.ErrLost) {
			l.session.gone <- err // taken by the keeper, or nobody cares
			return
		}
		if r, ok := in.look(); ok {
			offerLatest(l.requests, r)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Token implements lock.Lease.
func (l *lease) Token() lock.Token { return l.token }

// Requests implements lock.Lease.
func (l *lease) Requests() <-chan lock.Request { return l.requests }

// Previous implements lock.Lease.
func (l *lease) Previous() lock.Record { return l.previous }

// HandOver implements lock.Lease.
func (l *lease) HandOver(h lock.Handover) {
	l.release.Lock()
	defer l.release.Unlock()
	l.handover = &h
}

// Put implements lock.Lease.
func (l *lease) Put(ctx context.Context, key string, value []byte) error {
	what := "put " + key
	_, err := within(ctx, what, func() (struct{}, error) {
		return struct{}{}, l.session.dir.update(true, l.set(ctx, what, key, value))
	})
	if errors.Is(err, lock.ErrLost) {
		l.Lose(err)
	}
	return err
}

// set is the change that Put makes. It looks at ctx after the state was read: what
// it replaces was there before ctx was done, and no later Put has written it.
func (l *lease) set(ctx context.Context, what, key string, value []byte) func(*state) error {
	return func(s *state) error {
		if ctx.Err() != nil {
			return unavailable(what, context.Cause(ctx))
		}
		if err := l.holds(s); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if s.Values == nil {
			s.Values = make(map[string][]byte)
		}
		s.Values[key] = value
		return nil
	}
}

// holds returns an error that wraps lock.ErrLost if the lock is not ours.
func (l *lease) holds(s *state) error {
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", lock.ErrLost, err)
	}
	if err := l.session.file.inPlace(); err != nil {
		return err
	}
	return l.session.owns(s)
}

// RecordChild implements lock.ChildRecorder. It may come late: a child that
// has ended is not recorded.
func (l *lease) RecordChild(pid int, start uint64) error {
	return l.session.dir.update(false, func(s *state) error {
		if s.Record.Owner != l.session.owner || s.Record.State != lock.Held {
			return errSame
		}
		host := *s.Record.Host
		host.Child, host.Start = pid, start
		s.Record.Host = &host
		return nil
	})
}

// Release implements lock.Lease. The lock is given back even if the record
// cannot be written: the next candidate then sees by the lock that nobody of
// this tenure is left.
func (l *lease) Release(ctx context.Context) error {
	l.release.Lock()
	defer l.release.Unlock()
	l.Stop()
	_, err := within(ctx, "release", func() (struct{}, error) {
		return struct{}{}, l.session.dir.clean(l.session.owner, l.handover)
	})
	if !l.closed {
		l.closed = true
		if errors.Is(l.session.file.inPlace(), lock.ErrLost) {
			l.session.store.taken.Store(l.session.name, time.Now())
		}
		l.session.over(l.session.owner, l.token)
		l.session.file.giveBack()
	}
	l.Lose(lock.ErrReleased)
	l.unwatch()
	select {
	case <-l.watched:
	case <-ctx.Done(): // it looks at a disk that hangs
	}
	return err
}
