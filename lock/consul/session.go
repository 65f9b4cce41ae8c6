package consul

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
)

// lockDelay is how long Consul keeps others off a key after its holder's session
// was invalidated. Its default of 15 s is a guess at how long a holder needs to
// notice; here the record says when the holder's tree is dead (see settle.go), for
// whoever reads it, also where Consul forgets the delay: it is in its leader's memory
// only. Zero would be right, but api leaves it out, which means 15 s.
const lockDelay = time.Millisecond

// A session is one Consul session and, once it has won, the key it locked.
type session struct {
	store *Store
	id    string
	key   string
	gone  chan error

	queued bool // a place in the queue was asked for; the campaign's alone

	mu  sync.Mutex
	own lockKey // as we locked it; zero before

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

var _ lock.Session = (*session)(nil)

// create makes a session. Consul takes or refuses a TTL, and never changes it.
func (s *Store) create(ctx context.Context, k keys, c lock.Candidate, election string) (*session, lock.Grant, error) {
	if err := k.check(); err != nil {
		return nil, lock.Grant{}, err
	}
	entry := api.SessionEntry{
		Name: "leaderrun " + election + " " + c.ID, TTL: c.TTL.String(),
		Behavior: api.SessionBehaviorRelease, LockDelay: lockDelay,
	}
	var made madeSession
	err := s.request(ctx, func(ctx context.Context, l *line) (err error) {
		made, err = s.createOn(ctx, l, &entry)
		return err
	})
	g := lock.Grant{Sent: made.sent, Lifetime: c.TTL}
	if err != nil {
		return nil, g, err
	}
	s.warnNode(made.why, c.Notify)
	x := &session{store: s, id: made.id, key: k.lock(), gone: make(chan error, 1)}
	x.ctx, x.cancel = context.WithCancel(s.ctx)
	return x, g, nil
}

// Renew implements lock.Session. Consul's leader renews a session by itself, so
// that one which was deposed and does not know it yet might answer: the read that
// follows needs a majority. (The two may be answered by different leaders, the
// first by one that was frozen. Each new leader begins with two TTLs for each
// session, and a request is not older than one.)
func (x *session) Renew(ctx context.Context) (time.Duration, error) {
	var lifetime time.Duration
	err := x.store.do(ctx, func(ctx context.Context, l *line) error {
		entry, _, err := l.client.Session().Renew(x.id, l.write(ctx))
		if err != nil {
			return err
		}
		if entry == nil {
			return x.confirmGone(ctx, l)
		}
		if lifetime, err = time.ParseDuration(entry.TTL); err != nil {
			return l.fault(lock.ErrUnavailable, "renewed session: %w", err)
		}
		return x.check(ctx, l)
	})
	if err != nil {
		return 0, err
	}
	return lifetime, nil
}

// Gone implements lock.Session.
func (x *session) Gone() <-chan error { return x.gone }

// confirmGone asks again, consistently, after an answer that there is no such
// session: it came from one server's memory, which may lag behind just after it
// became the leader, or from something that is no Consul.
func (x *session) confirmGone(ctx context.Context, l *line) error {
	if err := x.confirmLives(ctx, l); err != nil {
		return err
	}
	return l.fault(lock.ErrUnavailable, "it found session %s only when asked again", x.id)
}

// check reads the lock key: a session that lives says nothing of a key that
// somebody deleted. Before we have locked it, the read proves a majority.
func (x *session) check(ctx context.Context, l *line) error {
	own := x.owned() // before the read: what it shows may be older than a lock that we get meanwhile
	pairs, err := x.store.readOn(ctx, l, "", x.key)
	if err != nil {
		return err
	}
	return x.same(own, lockKeyOf(pairs[0]))
}

func (x *session) owned() lockKey {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.own
}

// ours returns nil if that is the key as we locked it.
func (x *session) ours(k lockKey) error { return x.same(x.owned(), k) }

func (x *session) same(own, k lockKey) error {
	switch {
	// The session alone decides: nobody but us locks with it, and we did it once. The
	// lock index goes back to 0 when somebody writes a value by hand.
	case own.index == 0 || k.session == x.id:
		return nil
	case k.index == 0:
		return fmt.Errorf("%w: consul key %s is gone: somebody deleted it", lock.ErrLost, x.key)
	case k.session == "":
		return fmt.Errorf("%w: consul key %s is no longer locked: session %s ended, or somebody released it", lock.ErrLost, x.key, x.id)
	}
	return fmt.Errorf("%w: consul key %s was locked by somebody else", lock.ErrLost, x.key)
}

// locked notes that the key is ours, and watches it from there on.
func (x *session) locked(k lockKey) {
	x.mu.Lock()
	first := x.own.index == 0
	x.own = k
	x.mu.Unlock()
	if first {
		x.tasks.Go(func() { x.watch(k.index) })
	}
}

// watch tells of the loss at once. What it sees is only a hint: a read that needs
// a majority has the last word.
func (x *session) watch(after uint64) {
	x.store.follow(x.ctx, x.key, after, func(p *api.KVPair, _ uint64) bool {
		if x.ours(lockKeyOf(p)) == nil {
			return true
		}
		var err error
		pause := lock.NewPause()
		for x.ctx.Err() == nil {
			err = x.store.request(x.ctx, func(ctx context.Context, l *line) error { return x.check(ctx, l) })
			if err == nil || errors.Is(err, lock.ErrLost) {
				break
			}
			pause.Wait(x.ctx)
		}
		if !errors.Is(err, lock.ErrLost) {
			return true
		}
		select {
		case x.gone <- err:
		default: // one reason is enough, and perhaps nobody asks any more
		}
		return false
	})
}

// stop ends what belongs to the session in this process.
func (x *session) stop() {
	x.cancel()
	x.tasks.Wait()
}

// destroy ends a session, which releases what it still holds. An acquisition that
// is still on its way then fails. One that is gone is fine.
func (s *Store) destroy(ctx context.Context, id string) error {
	return s.request(ctx, func(ctx context.Context, l *line) error {
		_, err := l.client.Session().Destroy(id, l.write(ctx))
		return err
	})
}

// destroySoon ends a session that no longer matters to anybody: it holds nothing,
// and would end by itself.
func (s *Store) destroySoon(id string) {
	s.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
		defer cancel()
		_ = lock.Persist(ctx, func(ctx context.Context) error { return s.destroy(ctx, id) })
	})
}

// confirmLives fails with ErrLost if the session is gone.
func (x *session) confirmLives(ctx context.Context, l *line) error {
	entry, meta, err := l.client.Session().Info(x.id, l.query(ctx))
	if err == nil && entry == nil {
		if meta.LastIndex == 0 {
			return l.noConsul()
		}
		err = fmt.Errorf("%w: consul session %s expired or was destroyed", lock.ErrLost, x.id)
	}
	return err
}
