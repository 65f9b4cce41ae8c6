package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

var (
	errSpent    = errors.New("connection closed") // it is no longer used
	errNoAnswer = errors.New("no answer in time")
)

const storeName = "etcd" // in errors

func fault(kind error, endpoint, format string, args ...any) error {
	return transport.NewFault(kind, storeName, endpoint, format, args...)
}

// A verdict is what a failed request says of its connection.
type verdict struct {
	err error
	// drop: the connection is not used again, whatever else it might still
	// carry; the next request goes to the next address.
	drop bool
}

// judge turns what gRPC or etcd returned into an error of the kinds in lock.
// rpctypes.ErrLeaseNotFound is none: only the caller knows what it means.
func (c *conn) judge(ctx context.Context, err error) verdict {
	if transport.KindOf(err) != nil {
		return verdict{err: err}
	}
	if cause := ctx.Err(); cause != nil {
		// Silence says nothing of the server, but a connection on which nothing
		// comes back may be a black hole for as long as TCP likes.
		if errors.Is(cause, context.DeadlineExceeded) {
			return verdict{fault(lock.ErrUnavailable, c.endpoint, "%w", errNoAnswer), true}
		}
		return verdict{err: context.Cause(ctx)}
	}
	if err := c.link.Refused(); err != nil {
		return verdict{err, true}
	}
	var own rpctypes.EtcdError
	if errors.As(rpctypes.Error(err), &own) {
		return c.judgeEtcd(own)
	}
	st, _ := status.FromError(err)
	switch st.Code() {
	case codes.PermissionDenied, codes.Unauthenticated:
		return verdict{fault(lock.ErrDenied, c.endpoint, "%s", st.Message()), true}
	case codes.Unimplemented:
		return verdict{fault(lock.ErrConfig, c.endpoint, "does not answer like etcd 3: see --store: %s", st.Message()), true}
	case codes.InvalidArgument, codes.OutOfRange:
		return verdict{err: fault(lock.ErrConfig, c.endpoint, "%s", st.Message())}
	case codes.ResourceExhausted:
		return verdict{err: fault(lock.ErrUnavailable, c.endpoint, "%s", st.Message())}
	}
	return verdict{fault(lock.ErrUnavailable, c.endpoint, "%s", st.Message()), true}
}

func (c *conn) judgeEtcd(err rpctypes.EtcdError) verdict {
	switch err {
	case rpctypes.ErrLeaseNotFound:
		return verdict{err: err}
	case rpctypes.ErrUserEmpty:
		if c.user == "" {
			return verdict{fault(lock.ErrDenied, c.endpoint, "it asks for a user: set --user and --password-file, or ETCDCTL_USER and ETCDCTL_PASSWORD (%w)", err), true}
		}
		fallthrough
	case rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision:
		// The token expired or users were changed (etcd #17623): the next
		// connection logs in anew.
		return verdict{fault(lock.ErrUnavailable, c.endpoint, "%w", err), true}
	case rpctypes.ErrAuthFailed:
		return verdict{fault(lock.ErrDenied, c.endpoint, "user %q is unknown or has another password: see --user and --password-file (%w)", c.user, err), true}
	case rpctypes.ErrPermissionDenied:
		return verdict{err: fault(lock.ErrDenied, c.endpoint, "%s must be allowed to read and write below the prefix in --store: %w", c.who(), err)}
	case rpctypes.ErrTooManyRequests, rpctypes.ErrNoSpace:
		return verdict{err: fault(lock.ErrUnavailable, c.endpoint, "%w", err)}
	}
	switch err.Code() {
	case codes.InvalidArgument, codes.OutOfRange:
		return verdict{err: fault(lock.ErrConfig, c.endpoint, "%w", err)}
	case codes.PermissionDenied, codes.Unauthenticated:
		return verdict{fault(lock.ErrDenied, c.endpoint, "%w", err), true}
	}
	return verdict{fault(lock.ErrUnavailable, c.endpoint, "%w", err), true} // a learner, no leader, stopping, ...
}

func (c *conn) who() string {
	if c.user == "" {
		return "the user that --tls-cert names"
	}
	return fmt.Sprintf("user %q", c.user)
}
