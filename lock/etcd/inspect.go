package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// lateExpiry is how much longer than its lifetime etcd may keep a lease: its
// leader looks for those that have run out every half second (lessor.runLoop), and
// a majority has to agree to the end.
const lateExpiry = time.Second

// Inspect implements lock.Inspector.
func (l *locker) Inspect(ctx context.Context, c lock.Candidate, tell lock.Tell) lock.Outlook {
	if !l.store.inspectMembers(ctx, tell) {
		return lock.Outlook{}
	}
	g, ok := l.inspectLease(ctx, c, tell)
	if !ok {
		return lock.Outlook{}
	}
	return lock.Outlook{Grant: g, Hold: g.Lifetime + lateExpiry, Settle: lock.SettleTime}
}

// inspectLease makes a lease and a key that hangs on it, and whatever happens
// ends both.
func (l *locker) inspectLease(ctx context.Context, c lock.Candidate, tell lock.Tell) (lock.Grant, bool) {
	x, g, err := l.store.grant(ctx, l.keys, c.TTL)
	if err != nil {
		if ctx.Err() == nil {
			tell.Fail("lease", err)
		}
		if errors.Is(err, lock.ErrUnavailable) {
			tell.Warn("clean up", "a lease may have been made without an answer: it ends by itself in %v", c.TTL)
		}
		return g, false
	}
	x.key = l.keys.inspect()
	defer func() {
		if err := l.forget(x); err != nil {
			tell.Warn("clean up", "key %s goes with its lease in %v by itself: %v", x.key, g.Lifetime, err)
		}
	}()
	toldLogin := false
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
		case final(err):
			tell.Fail("login", err)
			return g, false
		case !toldLogin:
			toldLogin = true
			l.store.tellLogin(tell)
		}
		switch {
		case errors.Is(err, lock.ErrUnavailable): // and so is the rest
			tell.Fail(step.topic, err)
			return g, false
		case err != nil:
			tell.Fail(step.topic, l.hint(ctx, err))
		case step.topic != "renew": // has said so
			tell.OK(step.topic, "allowed")
		}
	}
	tell.Granted(g, c.TTL)
	return g, true
}

func (x *session) tryCreate(ctx context.Context) error {
	return x.store.request(ctx, func(ctx context.Context, c *conn) error {
		resp, err := c.txn(ctx, nil, []*pb.RequestOp{put(x.key, nil, x.id)}, nil)
		if err == nil {
			x.create.Store(resp.Header.Revision)
		}
		return err
	})
}

// tryRead reads what a campaign reads.
func (l *locker) tryRead(ctx context.Context, x *session, tell lock.Tell) error {
	resp, err := l.store.txn(ctx, nil, append(l.holderOps(), get(x.key)), nil)
	if err != nil {
		return err
	}
	h, head, err := l.holderIn(resp)
	if err != nil {
		return err
	}
	if err := head.stranger(); err != nil {
		tell.Warn("election", "%v", err)
	}
	tell.Led(h)
	return nil
}

func (x *session) tryDelete(ctx context.Context) error {
	return x.store.request(ctx, func(ctx context.Context, c *conn) error {
		_, err := c.txn(ctx, nil, []*pb.RequestOp{remove(x.key)}, nil)
		return err
	})
}

// forget ends the lease and what hangs on it, also a key that was on its way.
func (l *locker) forget(x *session) error {
	x.stop()
	ctx, cancel := context.WithTimeout(context.Background(), max(l.store.bound, leaveTime))
	defer cancel()
	return lock.Persist(ctx, func(ctx context.Context) error { return l.store.revoke(ctx, x.id) })
}

// tellLogin tells as whom a request was just answered.
func (s *Store) tellLogin(tell lock.Tell) {
	user, cert := s.dialer.Settings.User, s.dialer.Settings.TLSCert
	switch c := s.pool.Current(); {
	case user == "" && cert == "":
		tell.OK("login", "none: etcd asks for no user")
	case user == "":
		tell.OK("login", "none: if etcd asks for a user it takes the common name in %s", cert)
	case c != nil && !c.loggedIn:
		tell.Warn("login", "user %q is not asked for: anybody who reaches etcd may do anything: etcdctl auth enable", user)
	default:
		tell.OK("login", "user %q", user)
	}
}

// hint adds to a refusal what an administrator has to type.
func (l *locker) hint(ctx context.Context, err error) error {
	if !errors.Is(err, errPermissionDenied) {
		return err
	}
	user, role := l.store.dialer.Settings.User, "ROLE"
	var resp *pb.AuthUserGetResponse
	asked := l.store.request(ctx, func(ctx context.Context, c *conn) (err error) {
		resp, err = call(ctx, client[pb.AuthUserGetRequest, pb.AuthUserGetResponse](c, "Auth/UserGet"), &pb.AuthUserGetRequest{Name: user})
		return err
	})
	first := ""
	switch {
	case asked != nil: // only a user with a name may ask for its own
	case len(resp.Roles) == 0:
		first = fmt.Sprintf("etcdctl role add ROLE; etcdctl user grant-role %s ROLE; ", user)
	case len(resp.Roles) == 1:
		role = resp.Roles[0]
	}
	return fmt.Errorf("%w: let root type: %setcdctl role grant-permission %s --prefix=true readwrite %s/", err, first, role, l.keys.base)
}
