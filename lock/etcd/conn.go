package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"connectrpc.com/connect"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
	"leaderrun/lock/transport"
)

// A conn is gRPC on one link to one member. It does not reconnect, wait or
// retry: clientv3.Client does all three by rules of its own (unary reads 100
// times, KeepAliveOnce in a loop without a pause, watches for ever), and a
// deadline leaves no room for that.
type conn struct {
	endpoint string
	user     string // logged in as
	token    string // goes with every request once somebody has logged in
	link     *transport.Link
	http     *http.ClientConn

	kv        *connect.Client[pb.TxnRequest, pb.TxnResponse]
	read      *connect.Client[pb.RangeRequest, pb.RangeResponse]
	grant     *connect.Client[pb.LeaseGrantRequest, pb.LeaseGrantResponse]
	revoke    *connect.Client[pb.LeaseRevokeRequest, pb.LeaseRevokeResponse]
	keepAlive *connect.Client[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]
	left      *connect.Client[pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse]
	watch     *connect.Client[pb.WatchRequest, pb.WatchResponse]

	version  string // of that member
	leader   bool   // it knew one when we connected
	loggedIn bool   // as user
}

var (
	_ transport.Conn     = (*conn)(nil)
	_ connect.HTTPClient = (*conn)(nil)
)

// newConn puts gRPC on the link and logs in. It owns the link.
func newConn(ctx context.Context, endpoint string, d dialer, l *transport.Link, password string) (*conn, error) {
	c := &conn{endpoint: endpoint, user: d.Settings.User, link: l}
	var err error
	if c.http, err = newHTTP2(ctx, l); err != nil {
		err = c.explain(ctx, d, err)
		_ = l.Close()
		return nil, err
	}
	c.kv = client[pb.TxnRequest, pb.TxnResponse](c, "KV/Txn")
	c.read = client[pb.RangeRequest, pb.RangeResponse](c, "KV/Range")
	c.grant = client[pb.LeaseGrantRequest, pb.LeaseGrantResponse](c, "Lease/LeaseGrant")
	c.revoke = client[pb.LeaseRevokeRequest, pb.LeaseRevokeResponse](c, "Lease/LeaseRevoke")
	c.keepAlive = client[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse](c, "Lease/LeaseKeepAlive")
	c.left = client[pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse](c, "Lease/LeaseTimeToLive")
	c.watch = client[pb.WatchRequest, pb.WatchResponse](c, "Watch/Watch")
	if err := c.login(ctx, password); err != nil {
		err = c.explain(ctx, d, err)
		c.Close(true)
		return nil, err
	}
	return c, nil
}

// newHTTP2 puts HTTP/2 on the link, which has done the TLS there is.
func newHTTP2(ctx context.Context, l *transport.Link) (*http.ClientConn, error) {
	t := &http.Transport{
		Protocols:          new(http.Protocols),
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return l, nil },
		DisableCompression: true,
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	c, err := t.NewClientConn(ctx, "http", "given:2379")
	if err != nil && strings.Contains(os.Getenv("GODEBUG"), "http2client=0") {
		err = fmt.Errorf("%w: GODEBUG=http2client=0 turns off HTTP/2, which etcd speaks: unset it", lock.ErrConfig)
	}
	return c, err
}

func client[Req, Res any](c *conn, procedure string) *connect.Client[Req, Res] {
	scheme := "http"
	if c.link.State() != nil {
		scheme = "https"
	}
	return connect.NewClient[Req, Res](c, scheme+"://"+authority(c.endpoint)+"/etcdserverpb."+procedure,
		connect.WithGRPC(), connect.WithAcceptCompression("gzip", nil, nil))
}

// authority is what a request calls the server.
func authority(endpoint string) string {
	if strings.HasPrefix(endpoint, "/") { // a unix socket
		return "localhost"
	}
	return endpoint
}

// endWith ends a stream with ctx, at which HTTP/2 does not look before all of the
// request is sent; it may stay open as long as its answers are waited for: etcd's
// grpc-proxy takes its end for the client's.
func endWith[Req, Res any](ctx context.Context, stream *connect.BidiStreamForClient[Req, Res]) {
	context.AfterFunc(ctx, func() { _ = stream.CloseRequest() })
}

// call makes one request with one answer.
func call[Req, Res any](ctx context.Context, rpc *connect.Client[Req, Res], req *Req) (*Res, error) {
	resp, err := rpc.CallUnary(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	return resp.Msg, nil
}

// Do implements connect.HTTPClient.
func (c *conn) Do(r *http.Request) (*http.Response, error) {
	if c.token != "" {
		r.Header.Set("token", c.token)
	}
	return c.http.RoundTrip(r)
}

// txn runs one transaction.
func (c *conn) txn(ctx context.Context, cmp []*pb.Compare, then, other []*pb.RequestOp) (*pb.TxnResponse, error) {
	return call(ctx, c.kv, &pb.TxnRequest{Compare: cmp, Success: then, Failure: other})
}

// login makes sure that an etcd answers, as it must before this connection is
// preferred to another.
func (c *conn) login(ctx context.Context, password string) error {
	if c.user != "" {
		auth := client[pb.AuthenticateRequest, pb.AuthenticateResponse](c, "Auth/Authenticate")
		resp, err := call(ctx, auth, &pb.AuthenticateRequest{Name: c.user, Password: []byte(password)})
		switch {
		case err == nil:
			c.token, c.loggedIn = resp.Token, true
		case !errors.Is(answerOf(err), errAuthNotEnabled):
			return err
		}
	}
	status := client[pb.StatusRequest, pb.StatusResponse](c, "Maintenance/Status")
	resp, err := call(ctx, status, &pb.StatusRequest{})
	if err != nil {
		return err
	}
	c.version, c.leader = resp.Version, resp.Leader != 0
	return nil
}

func (c *conn) explain(ctx context.Context, d dialer, err error) error {
	if ctx.Err() == nil && c.link.State() == nil && !c.link.Heard() && d.SpeaksTLS(ctx, c.endpoint) {
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
	_ = c.http.Close()
	_ = c.link.Close()
}
