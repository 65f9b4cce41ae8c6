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

// Judge implements transport.Conn: it turns what gRPC or etcd returned into an error of the kinds in lock.
// rpctypes.ErrLeaseNotFound is none: only the caller knows what it means.
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
	var own rpctypes.EtcdError
	if errors.As(rpctypes.Error(err), &own) {
		return c.judgeEtcd(own)
	}
	st, _ := status.FromError(err)
	switch st.Code() {
	case codes.PermissionDenied, codes.Unauthenticated:
		return transport.Verdict{Err: fault(lock.ErrDenied, c.endpoint, "%s", st.Message()), Drop: true}
	case codes.Unimplemented:
		return transport.Verdict{Err: fault(lock.ErrConfig, c.endpoint, "does not answer like etcd 3: see --store: %s", st.Message()), Drop: true}
	case codes.InvalidArgument, codes.OutOfRange:
		return transport.Verdict{Err: fault(lock.ErrConfig, c.endpoint, "%s", st.Message())}
	case codes.ResourceExhausted:
		return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%s", st.Message())}
	}
	return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%s", st.Message()), Drop: true}
}

func (c *conn) judgeEtcd(err rpctypes.EtcdError) transport.Verdict {
	switch err {
	case rpctypes.ErrLeaseNotFound:
		return transport.Verdict{Err: err}
	case rpctypes.ErrUserEmpty:
		if c.user == "" {
			return transport.Verdict{Err: fault(lock.ErrDenied, c.endpoint, "it asks for a user: set --user and --password-file, or ETCDCTL_USER and ETCDCTL_PASSWORD (%w)", err), Drop: true}
		}
		fallthrough
	case rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision:
		// The token expired or users were changed (etcd #17623): the next
		// connection logs in anew.
		return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%w", err), Drop: true}
	case rpctypes.ErrAuthFailed:
		return transport.Verdict{Err: fault(lock.ErrDenied, c.endpoint, "user %q is unknown or has another password: see --user and --password-file (%w)", c.user, err), Drop: true}
	case rpctypes.ErrPermissionDenied:
		return transport.Verdict{Err: fault(lock.ErrDenied, c.endpoint, "%s must be allowed to read and write below the prefix in --store: %w", c.who(), err)}
	case rpctypes.ErrTooManyRequests, rpctypes.ErrNoSpace:
		return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%w", err)}
	}
	switch err.Code() {
	case codes.InvalidArgument, codes.OutOfRange:
		return transport.Verdict{Err: fault(lock.ErrConfig, c.endpoint, "%w", err)}
	case codes.PermissionDenied, codes.Unauthenticated:
		return transport.Verdict{Err: fault(lock.ErrDenied, c.endpoint, "%w", err), Drop: true}
	}
	return transport.Verdict{Err: fault(lock.ErrUnavailable, c.endpoint, "%w", err), Drop: true} // a learner, no leader, stopping, ...
}

func (c *conn) who() string {
	if c.user == "" {
		return "the user that --tls-cert names"
	}
	return fmt.Sprintf("user %q", c.user)
}

// final tells that no other member would answer differently.
func final(err error) bool {
	return errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrUserEmpty)
}
