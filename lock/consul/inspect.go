package consul

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
)

// ttls is how many of its TTLs Consul keeps a session that is not renewed at most:
// structs.SessionTTLMultiplier. A new leader begins with as many.
const ttls = 2

// Inspect implements lock.Inspector.
func (l *locker) Inspect(ctx context.Context, c lock.Candidate, tell lock.Tell) lock.Outlook {
	if !l.store.inspectAgents(ctx, tell) || !l.store.inspectToken(ctx, tell) {
		return lock.Outlook{}
	}
	g, ok := l.inspectSession(ctx, c, tell)
	if !ok {
		return lock.Outlook{}
	}
	return lock.Outlook{Grant: g, Hold: ttls*g.Lifetime + lockDelay, Settle: lock.SettleTime}
}

// inspectToken tells whose token it is, and whether Consul still knows it.
func (s *Store) inspectToken(ctx context.Context, tell lock.Tell) bool {
	source := s.dialer.tokenSource()
	if source == "" {
		tell.OK("login", "none: what the anonymous token may do counts")
		return true
	}
	var token *api.ACLToken
	err := s.request(ctx, func(ctx context.Context, l *line) (err error) {
		token, _, err = l.client.ACL().TokenReadSelf(l.query(ctx))
		return err
	})
	switch {
	case ctx.Err() != nil:
		return false
	case errors.Is(err, lock.ErrDenied) && !mayPass(err):
		tell.Warn("login", "the ACL token in %s is not asked for: anybody who reaches Consul may do anything: see acl.enabled in Consul's configuration", source)
	case err != nil:
		tell.Fail("login", err)
		return false
	default:
		var policies []string
		for _, p := range token.Policies {
			policies = append(policies, p.Name)
		}
		tell.OK("login", "the ACL token in %s: accessor %s, policies %s", source, token.AccessorID, orNone(policies))
		tellExpiry(tell, source, token.ExpirationTime)
	}
	return true
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func tellExpiry(tell lock.Tell, source string, end *time.Time) {
	if end != nil && !end.IsZero() {
		tell.Warn("login", "the ACL token in %s expires on %s: replace the file before that", source, end.Local().Format("2006-01-02 15:04 MST"))
	}
}

// inspectSession makes a session and a key that it locks, and whatever happens
// removes both. The node of leaderrun's sessions stays: others may hang on it.
func (l *locker) inspectSession(ctx context.Context, c lock.Candidate, tell lock.Tell) (lock.Grant, bool) {
	c.Notify = func(n lock.Notice) { tell.Warn("session", "%v", n.Err) } // of a node that is not ours
	x, g, err := l.store.create(ctx, l.keys, c, l.election)
	if err != nil {
		if ctx.Err() == nil {
			tell.Fail("lease", err)
		}
		if errors.Is(err, lock.ErrUnavailable) {
			tell.Warn("clean up", "a session may have been made without an answer: it ends by itself in %v", ttls*c.TTL)
		}
		return g, false
	}
	x.key = l.keys.base + "/check/" + rand.Text()
	defer func() {
		if err := l.forget(x); err != nil {
			tell.Warn("clean up", "session %s ends in %v by itself; remove what it may have made: consul kv delete %s: %v", x.id, ttls*g.Lifetime, x.key, err)
		}
	}()
	for _, step := range []struct {
		topic string
		try   func(context.Context) error
	}{
		{"create", x.tryCreate},
		{"read", func(ctx context.Context) error { return l.tryRead(ctx, x, tell) }},
		{"renew", func(ctx context.Context) error { return tell.Renewed(ctx, x, l.store.bound) }},
		{"delete", x.tryDelete},
	} {
		err := step.try(ctx)
		switch {
		case ctx.Err() != nil:
			return g, false
		case errors.Is(err, lock.ErrUnavailable): // and so is the rest
			tell.Fail(step.topic, err)
			return g, false
		case err != nil:
			tell.Fail(step.topic, l.hint(err))
		case step.topic != "renew": // has said so
			tell.OK(step.topic, "allowed")
		}
	}
	tell.Granted(g, c.TTL)
	return g, true
}

func (x *session) tryCreate(ctx context.Context) error {
	pairs, err := x.store.txn(ctx, x.store.opLock(api.KVLock, x.key, x.id))
	if err != nil || len(pairs) == 0 {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.own = lockKeyOf(pairs[0])
	return nil
}

// tryRead reads what a campaign reads.
func (l *locker) tryRead(ctx context.Context, x *session, tell lock.Tell) error {
	if _, err := l.store.read(ctx, x.key); err != nil {
		return err
	}
	key, stored, err := l.store.readPlaces(ctx, l.keys)
	if err != nil {
		return err
	}
	rec, err := decodeRecord(l.keys.record(), stored)
	foreign := key.foreign(l.keys.lock(), rec)
	switch {
	case errors.Is(foreign, lock.ErrConfig):
		return foreign
	case foreign != nil:
		tell.Warn("election", "%v", foreign)
	}
	if err == nil && rec.heldBy(key.session) {
		rec.Holder.Token = rec.Token
		tell.Led(rec.Holder)
	}
	return err
}

func (x *session) tryDelete(ctx context.Context) error {
	_, err := x.store.txn(ctx, x.store.op(api.KVDelete, x.key))
	return err
}

// forget ends the session, so that no lock that is still on its way can come, and
// then removes the key.
func (l *locker) forget(x *session) error {
	x.stop()
	ctx, cancel := context.WithTimeout(context.Background(), max(l.store.bound, leaveTime))
	defer cancel()
	err := lock.Persist(ctx, func(ctx context.Context) error { return l.store.destroy(ctx, x.id) })
	gone := lock.Persist(ctx, x.tryDelete)
	if errors.Is(gone, lock.ErrDenied) {
		gone = nil // and so nothing was made
	}
	return errors.Join(err, gone)
}

// hint adds to a refusal the rule that is enough for this election alone.
func (l *locker) hint(err error) error {
	if !errors.Is(err, lock.ErrDenied) {
		return err
	}
	return fmt.Errorf("%w: enough for this election is key_prefix %q { policy = \"write\" }", err, l.keys.base+"/")
}
