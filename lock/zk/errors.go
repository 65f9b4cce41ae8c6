package zk

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// Codes that go-zookeeper has no name for (KeeperException.Code).
const (
	codeConnectionLoss = -4
	codeTimeout        = -7
	codeLocalSession   = -120
	codeNeedsAuth      = -124
	codeQuota          = -125
	codeThrottled      = -127
)

// errQuota does not go away by itself, and no renewal meets it: whoever goes on
// trying without a word tells nobody.
var errQuota = errors.New("the quota below the prefix in --store is used up (listquota, setquota)")

// persist is lock.Persist, but for a quota that is used up.
func persist(ctx context.Context, f func(context.Context) error) error {
	var full error
	err := lock.Persist(ctx, func(ctx context.Context) error {
		err := f(ctx)
		if errors.Is(err, errQuota) {
			full = err
			return nil
		}
		return err
	})
	if full != nil {
		return full
	}
	return err
}

// Judge implements transport.Conn. What only the caller can judge (a node that
// is missing or there, a version that is another) is passed on as it is.
func (c *conn) Judge(ctx context.Context, err error) transport.Verdict {
	fault := func(kind error, drop bool, format string, args ...any) transport.Verdict {
		return transport.Verdict{Err: c.fault(kind, format, args...), Drop: drop}
	}
	if transport.KindOf(err) != nil {
		return transport.Verdict{Err: err}
	}
	if cause := ctx.Err(); cause != nil {
		// Silence says nothing of the server, but a connection on which nothing
		// comes back may be a black hole for as long as TCP likes. Nor is it always
		// the network's: a session that ended while it moved between connections
		// leaves one on which ZooKeeper drops requests without a word
		// (MissingSessionException in submitRequestNow) and which nobody closes.
		if errors.Is(cause, context.DeadlineExceeded) {
			return fault(lock.ErrUnavailable, true, "%w", errNoAnswer)
		}
		return transport.Verdict{Err: context.Cause(ctx)}
	}
	if err := c.wire.link.Refused(); err != nil {
		return transport.Verdict{Err: err, Drop: true}
	}
	switch {
	case isAnswer(err):
		return transport.Verdict{Err: err}
	case errors.Is(err, zk.ErrSessionExpired):
		if c.fresh.Load() { // nothing hangs on it
			return fault(lock.ErrUnavailable, true, "%w", err)
		}
		return transport.Verdict{Err: errEnded(c.welcome.session), Drop: true}
	case errors.Is(err, zk.ErrAuthFailed):
		return fault(lock.ErrDenied, true, "it takes no --user: digest authentication is turned off there (%w)", err)
	case errors.Is(err, zk.ErrInvalidACL):
		return fault(lock.ErrDenied, false, "it does not take user %q for one that may own nodes (%w)", c.user, err)
	case errors.Is(err, zk.ErrNoChildrenForEphemerals):
		return fault(lock.ErrConfig, false, "a node of the path in --store is another program's ephemeral one, below which there can be none")
	case errors.Is(err, zk.ErrBadArguments), errors.Is(err, zk.ErrInvalidPath):
		return fault(lock.ErrConfig, false, "%w: see --store and --name", err)
	}
	switch codeOf(err) {
	case codeLocalSession:
		return fault(lock.ErrConfig, false, "its sessions are local and may have no nodes: set localSessionsUpgradingEnabled=true there")
	case codeNeedsAuth:
		return fault(lock.ErrDenied, true, "it asks for a login (enforce.auth.enabled): set --user and --password-file")
	case codeQuota:
		return fault(lock.ErrUnavailable, false, "%w", errQuota)
	case codeThrottled, codeTimeout:
		return fault(lock.ErrUnavailable, false, "it is overloaded (%w)", err)
	}
	// Moved to another connection of ours, closed, no majority any more, ...
	return fault(lock.ErrUnavailable, true, "%w", err)
}

func (c *conn) fault(kind error, format string, args ...any) error {
	return transport.NewFault(kind, storeName, c.endpoint, format, args...)
}

// isAnswer tells of errors that say how things stand in the store.
func isAnswer(err error) bool {
	for _, answer := range []error{zk.ErrNoNode, zk.ErrNodeExists, zk.ErrBadVersion, zk.ErrNotEmpty, zk.ErrNoAuth} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// codeOf reads the code out of the only place where the library leaves it.
func codeOf(err error) int {
	for ; err != nil; err = errors.Unwrap(err) {
		var code int
		if n, _ := fmt.Sscanf(err.Error(), "unknown error: %d", &code); n == 1 {
			return code
		}
	}
	return 0
}

func errEnded(session int64) error {
	return fmt.Errorf("%w: zookeeper session 0x%x ran out or was ended", lock.ErrLost, uint64(session))
}

// denied says in one line what permission is missing, and whose.
func (c *conn) denied(err error, verb, path string) error {
	if !errors.Is(err, zk.ErrNoAuth) {
		return err
	}
	at := path
	if verb == "create" || verb == "delete" {
		at = parent(path)
	}
	who := "nobody is logged in: set --user and --password-file, or setAcl " + at + " world:anyone:cdrw"
	if c.user != "" {
		who = fmt.Sprintf("user %q does not have it: give it cdrw there with setAcl, or correct --password-file, for zookeeper takes a wrong password for another user's and says nothing", c.user)
	}
	why := &deniedError{fmt.Sprintf("no permission to %s %s: %q on %s is missing: %s", verb, path, verb[:1], at, who)}
	return c.fault(lock.ErrDenied, "%w", why)
}

// A deniedError is zk.ErrNoAuth, which calls itself "not authenticated".
type deniedError struct{ text string }

func (e *deniedError) Error() string { return e.text }
func (e *deniedError) Unwrap() error { return zk.ErrNoAuth }
