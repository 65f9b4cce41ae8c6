package etcd

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

var errNoAnswer = errors.New("no answer in time")

// What etcd says (its api/v3rpc/rpctypes) and leaderrun acts on: in gRPC these
// errors have no name but their text.
var (
	errLeaseNotFound    = errors.New("etcdserver: requested lease not found")
	errUserEmpty        = errors.New("etcdserver: user name is empty")
	errAuthFailed       = errors.New("etcdserver: authentication failed, invalid user ID or password")
	errAuthNotEnabled   = errors.New("etcdserver: authentication is not enabled")
	errInvalidAuthToken = errors.New("etcdserver: invalid auth token")
	errAuthOldRevision  = errors.New("etcdserver: revision of auth store is old")
	errPermissionDenied = errors.New("etcdserver: permission denied")
	errTooManyRequests  = errors.New("etcdserver: too many requests")
	errNoSpace          = errors.New("etcdserver: mvcc: database space exceeded")
)

// answerOf returns which of these err is, or nil.
func answerOf(err error) error {
	for _, known := range []error{
		errLeaseNotFound, errUserEmpty, errAuthFailed, errAuthNotEnabled, errInvalidAuthToken,
		errAuthOldRevision, errPermissionDenied, errTooManyRequests, errNoSpace,
	} {
		if textOf(err) == known.Error() {
			return known
		}
	}
	return nil
}

// textOf leaves out the code, which connect writes before what the server said.
func textOf(err error) string {
	if answer := (*connect.Error)(nil); errors.As(err, &answer) {
		return answer.Message()
	}
	return err.Error()
}

const storeName = "etcd" // in errors

func fault(kind error, endpoint, format string, args ...any) error {
	return transport.NewFault(kind, storeName, endpoint, format, args...)
}

// Judge implements transport.Conn: it turns what gRPC or etcd returned into an error of the kinds in lock.
// errLeaseNotFound is none: only the caller knows what it means.
func (c *conn) Judge(ctx context.Context, err error) transport.Verdict {
	if transport.KindOf(err) != nil {
		return transport.Verdict{Err: err}
	}
	if cause := ctx.Err(); cause != nil {
		// Silence says nothing of the server, but a connection on which nothing
		// comes back may be a black hole for as long as TCP likes.
		if errors.Is(cause, context.DeadlineExceeded) {
			return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%w", errNoAnswer), Drop: true}
		}
		return transport.Verdict{Err: context.Cause(ctx)}
	}
	if err := c.link.Refused(); err != nil {
		return transport.Verdict{Err: err, Drop: true}
	}
	if v, ok := c.judgeEtcd(answerOf(err)); ok {
		return v
	}
	text := textOf(err)
	switch connect.CodeOf(err) {
	case connect.CodePermissionDenied, connect.CodeUnauthenticated:
		return transport.Verdict{Err: fault(lock.ErrDenied, c.endpoint, "%s", text), Drop: true}
	case connect.CodeUnimplemented:
		return transport.Verdict{Err: fault(lock.ErrConfig, c.endpoint, "does not answer like etcd 3: see --store: %s", text), Drop: true}
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return transport.Verdict{Err: fault(lock.ErrConfig, c.endpoint, "%s", text)}
	case connect.CodeResourceExhausted:
		return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%s", text)}
	}
	return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%s", text), Drop: true} // a learner, no leader, stopping, ...
}

// judgeEtcd knows what the code of an answer does not tell.
func (c *conn) judgeEtcd(err error) (transport.Verdict, bool) {
	is := func(known error) bool { return errors.Is(err, known) }
	switch {
	case is(errLeaseNotFound):
		return transport.Verdict{Err: err}, true
	case is(errUserEmpty) && c.user == "":
		return transport.Verdict{Err: fault(lock.ErrDenied, c.endpoint, "it asks for a user: set --user and --password-file, or ETCDCTL_USER and ETCDCTL_PASSWORD (%w)", err), Drop: true}, true
	case is(errUserEmpty), is(errInvalidAuthToken), is(errAuthOldRevision):
		// The token expired or users were changed (etcd #17623): the next
		// connection logs in anew.
		return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%w", err), Drop: true}, true
	case is(errAuthFailed):
		return transport.Verdict{Err: fault(lock.ErrDenied, c.endpoint, "user %q is unknown or has another password: see --user and --password-file (%w)", c.user, err), Drop: true}, true
	case is(errPermissionDenied):
		return transport.Verdict{Err: fault(lock.ErrDenied, c.endpoint, "%s must be allowed to read and write below the prefix in --store: %w", c.who(), err)}, true
	case is(errTooManyRequests), is(errNoSpace):
		return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%w", err)}, true
	}
	return transport.Verdict{}, false
}

func (c *conn) who() string {
	if c.user == "" {
		return "the user that --tls-cert names"
	}
	return fmt.Sprintf("user %q", c.user)
}

// final tells that no other member would answer differently.
func final(err error) bool {
	return errors.Is(err, errAuthFailed) || errors.Is(err, errUserEmpty)
}
