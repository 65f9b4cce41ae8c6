package consul

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// A line is HTTP to one address. It ends for good, with all its connections and
// whatever is under way on them, when a request on it is not answered: a
// connection that swallows packets must not be tried twice, and http.Transport
// would take it out of its pool again and again.
type line struct {
	endpoint string
	dialer   *dialer
	http     *http.Transport
	watches  *http.Transport // for blocking queries, which else take the connection that renewals have
	client   *api.Client
	leader   bool   // the agent knew one when we connected
	reached  func() // TCP is up

	ctx     context.Context // until close
	cancel  context.CancelFunc
	refusal atomic.Pointer[error] // what a server said as it hung up
	heard   atomic.Bool           // the server has sent something

	mu    sync.Mutex
	conns map[*conn]struct{} // nil once closed
}

var _ transport.Conn = (*line)(nil)

// open connects and makes sure that an agent answers, as it must before this
// address is preferred to another. No token is needed for that.
func (d *dialer) open(ctx context.Context, endpoint string, reached func()) (*line, error) {
	l := &line{endpoint: endpoint, dialer: d, reached: reached, conns: map[*conn]struct{}{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.http, l.watches = l.transport(), l.transport()
	var err error
	if l.client, err = api.NewClient(l.config()); err != nil {
		l.Close(false)
		return nil, transport.NewFault(lock.ErrConfig, storeName, endpoint, "%w", err)
	}
	leader, err := l.client.Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		err = l.Judge(ctx, err).Err
		l.Close(true)
		return nil, err
	}
	l.leader = leader != ""
	return l, nil
}

func (l *line) transport() *http.Transport {
	return &http.Transport{
		DialContext: l.dial, DialTLSContext: l.dial,
		// No proxy, whatever HTTP_PROXY says: it would be one more thing that can
		// hold a renewal back, and an agent is on this host or near it.
		Proxy:               nil,
		MaxIdleConnsPerHost: 2, // an agent takes 200 connections of a host (http_max_conns_per_client)
		IdleConnTimeout:     2 * time.Minute,
		DisableCompression:  true,
	}
}

// config leaves no field empty that api.NewClient would fill from the environment:
// what the environment says was weighed against the flags in Resolve, and what is
// still missing here was meant to be. The rest is put right in RoundTrip.
func (l *line) config() *api.Config {
	c := &api.Config{
		Address: l.endpoint, Scheme: "http", Transport: l.http,
		HttpClient: &http.Client{
			Transport: l,
			// A redirection comes from something that is no agent.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Token:      "replaced in RoundTrip", // else CONSUL_HTTP_TOKEN_FILE is read, once
		Datacenter: l.dialer.place.datacenter, Namespace: l.dialer.place.namespace, Partition: l.dialer.place.partition,
	}
	if l.dialer.tls {
		c.Scheme = "https"
	}
	if isSocket(l.endpoint) {
		c.Address = "localhost"
	}
	return c
}

// RoundTrip implements http.RoundTripper for api: it adds what proves who we are,
// read anew for each request, and turns answers that say no into errors.
func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if err := l.dialer.sign(req); err != nil {
		return nil, err
	}
	params := req.URL.Query()
	for name, value := range map[string]string{"ns": l.dialer.place.namespace, "partition": l.dialer.place.partition} {
		if value == "" {
			params.Del(name)
		}
	}
	req.URL.RawQuery = params.Encode()
	via := l.http
	if strings.HasPrefix(req.URL.Path, "/v1/kv/") {
		via = l.watches
	}
	resp, err := via.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if okStatus(req, resp) {
		resp.Body = body{io.LimitReader(resp.Body, mostBody), resp.Body}
		return resp, nil
	}
	return nil, l.refused(req.URL.Path, resp)
}

// mostBody bounds what is read of an answer. Two values of Consul's largest take 1.4
// MiB; kv_max_value_size allows more.
const mostBody = 16 << 20

type body struct {
	io.Reader
	io.Closer
}

// A conn is a connection of a line. What was written and not yet sent is thrown
// away as it closes: nobody wants a request of the past to arrive once the network
// is back.
type conn struct {
	net.Conn
	line *line
	link *transport.Link
}

func (l *line) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	// http.Transport goes on dialling for the next request when the one that asked
	// has given up.
	ctx, cancel := context.WithTimeout(ctx, l.dialer.bound)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	link, err := l.dialer.Dial(ctx, l.endpoint, l.reached)
	if errors.Is(err, lock.ErrConfig) && !errors.As(err, new(*transport.Fault)) {
		err = l.fault(lock.ErrUnavailable, "%w", notNow(err)) // a file that is being replaced
	}
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: link, line: l, link: link}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		link.Abort()
		return nil, net.ErrClosed
	}
	l.conns[c] = struct{}{}
	return c, nil
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.line.heard.Store(true)
	}
	c.note(err)
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.note(err)
	return n, err
}

// note keeps the reason that TLS gave: http.Transport does not always pass it on.
func (c *conn) note(err error) {
	if err == nil {
		return
	}
	if why := c.link.Refused(); why != nil {
		c.line.refusal.CompareAndSwap(nil, &why)
	}
}

func (c *conn) Close() error {
	c.line.mu.Lock()
	delete(c.line.conns, c)
	c.line.mu.Unlock()
	c.link.Abort()
	return nil
}

// Endpoint implements transport.Conn.
func (l *line) Endpoint() string { return l.endpoint }

// Closed implements transport.Conn. A server that closes a connection does not
// close the line.
func (l *line) Closed() <-chan struct{} { return l.ctx.Done() }

// Serves implements transport.Conn.
func (l *line) Serves() bool { return l.leader }

// Close implements transport.Conn. It always aborts: what is under way is not
// waited for.
func (l *line) Close(bool) {
	l.cancel()
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	for c := range conns {
		c.link.Abort()
	}
	l.http.CloseIdleConnections()
	l.watches.CloseIdleConnections()
}

var errLineClosed = errors.New("the connection was given up")

// run makes a request that also ends with the line.
func (l *line) run(ctx context.Context, f func(context.Context, *line) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(errLineClosed) })()
	return f(ctx, l)
}
