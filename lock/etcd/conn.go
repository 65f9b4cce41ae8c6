package etcd

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/status"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// gRPC writes its own mishaps to standard error, which is the child's.
func init() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}

// A conn is gRPC on one link to one member. It does not reconnect, wait or
// retry: clientv3.Client does all three by rules of its own (unary reads 100
// times, KeepAliveOnce in a loop without a pause, watches for ever), and a
// deadline leaves no room for that.
type conn struct {
	endpoint string
	user     string // logged in as
	link     *transport.Link
	cc       *grpc.ClientConn

	kv    clientv3.KV
	lease pb.LeaseClient
	watch pb.WatchClient

	version  string // of that member
	leader   bool   // it knew one when we connected
	loggedIn bool   // as user
}

var _ transport.Conn = (*conn)(nil)

// token goes with every request once somebody has logged in.
type token struct{ value atomic.Pointer[string] }

func (t *token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if v := t.value.Load(); v != nil {
		return map[string]string{rpctypes.TokenFieldNameGRPC: *v}, nil
	}
	return nil, nil
}

func (t *token) RequireTransportSecurity() bool { return false }

// shaken tells gRPC of a TLS handshake that is over, so that it says https.
type shaken struct {
	credentials.TransportCredentials
}

func (shaken) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	l, ok := c.(*transport.Link)
	if !ok || l.State() == nil {
		return nil, nil, errors.New("no TLS")
	}
	return c, credentials.TLSInfo{
		State:          *l.State(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (shaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (s shaken) Clone() credentials.TransportCredentials { return s }

// newConn puts gRPC on the link and logs in. It owns the link.
func newConn(ctx context.Context, endpoint string, d dialer, l *transport.Link, password string) (*conn, error) {
	creds := insecure.NewCredentials()
	if l.State() != nil {
		creds = shaken{creds}
	}
	var given atomic.Bool
	t := &token{}
	cc, err := grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if given.Swap(true) {
				_ = l.Close() // the server wants this connection to end
				return nil, errSpent
			}
			return l, nil
		}),
		grpc.WithTransportCredentials(creds),
		grpc.WithPerRPCCredentials(t),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
	)
	if err != nil {
		_ = l.Close()
		return nil, fault(lock.ErrConfig, endpoint, "%w", err)
	}
	c := &conn{endpoint: endpoint, user: d.Settings.User, link: l, cc: cc}
	kv := pb.NewKVClient(cc)
	c.kv, c.lease, c.watch = clientv3.NewKVFromKVClient(kv, nil), pb.NewLeaseClient(cc), pb.NewWatchClient(cc)
	if err := c.login(ctx, t, password); err != nil {
		err = c.explain(ctx, d, err)
		c.Close(true)
		return nil, err
	}
	return c, nil
}

// login makes sure that an etcd answers, as it must before this connection is
// preferred to another.
func (c *conn) login(ctx context.Context, t *token, password string) error {
	if c.user != "" {
		resp, err := pb.NewAuthClient(c.cc).Authenticate(ctx, &pb.AuthenticateRequest{Name: c.user, Password: password})
		switch {
		case err == nil:
			t.value.Store(&resp.Token)
			c.loggedIn = true
		case !errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled):
			return err
		}
	}
	resp, err := pb.NewMaintenanceClient(c.cc).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return err
	}
	c.version, c.leader = resp.Version, resp.Leader != 0
	return nil
}

func (c *conn) explain(ctx context.Context, d dialer, err error) error {
	st, _ := status.FromError(err)
	if st.Code() == codes.Unavailable && ctx.Err() == nil && c.link.State() == nil && !c.link.Heard() && d.SpeaksTLS(ctx, c.endpoint) {
		return d.ErrTLS(c.endpoint)
	}
	return c.Judge(ctx, err).Err
}

// Endpoint implements transport.Conn.
func (c *conn) Endpoint() string { return c.endpoint }

// Closed implements transport.Conn.
func (c *conn) Closed() <-chan struct{} { return c.link.Closed() }

// Serves implements transport.Conn: it knew a leader when we connected.
func (c *conn) Serves() bool { return c.leader }

// Close implements transport.Conn.
func (c *conn) Close(abort bool) {
	if abort {
		c.link.Abort()
	}
	_ = c.cc.Close()
	_ = c.link.Close()
}
