package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

// quiet takes what a proxy says of requests that end with their line.
var quiet = log.New(io.Discard, "", 0)

// Something before the agent has no patience with answers that take long: no watch
// tells anything. That costs seconds, not the election, and no tenure.
func TestNoWatch(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	agent := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.consul.Endpoints()[0]})
	agent.ErrorLog = quiet
	before := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/v1/kv/") {
			http.Error(w, "upstream request timeout", http.StatusGatewayTimeout)
			return
		}
		agent.ServeHTTP(w, req)
	}))
	defer before.Close()
	host := strings.TrimPrefix(before.URL, "http://")
	a := r.lead(r.open(host), "a")
	b := r.standBy(r.open(host), "b")
	b.Waits(lookAfter)
	a.Survives(1, testTTL)
	a.Release()
	began := bootclock.Now()
	b.Wins(lookAfter + prompt)
	t.Logf("leads %v after the release", bootclock.Now().Sub(began))
}

// A name that Consul takes in transactions, and in no path.
func TestUnprintableName(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	s := r.open()
	for _, name := range []string{"a\u00a0b", "a\u200db", "\ue000"} {
		for _, try := range []bool{false, true} {
			began := time.Now()
			_, err := s.Locker(name).Acquire(t.Context(), lock.Candidate{ID: "a", TTL: testTTL, Try: try})
			t.Log(err)
			if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), "--name") || time.Since(began) > prompt {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

// An agent takes no more connections from this host: other programs have them. That
// keeps a watch from being asked, not the lease from being renewed.
func TestNoMoreConnections(t *testing.T) {
	const most = 8
	r := newRig(t, servers.ConsulOptions{Args: []string{"-hcl", fmt.Sprintf("limits { http_max_conns_per_client = %d }", most)}})
	a := r.lead(r.open(), "a")
	a.Survives(1, testTTL)
	full := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for range most {
		others.Go(func() { holdConnection(ctx, r.consul.Endpoints()[0]) })
	}
	time.AfterFunc(time.Second, func() { close(full) })
	within(t, "the others", patient, full)
	a.Lease.Requests() // needs one more
	a.Survives(6, 2*testTTL)
	cancel()
	others.Wait()
	a.Release()
}

// holdConnection has one whenever the server takes it.
func holdConnection(ctx context.Context, endpoint string) {
	for ctx.Err() == nil {
		c, err := net.Dial("tcp", endpoint)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		_, _ = io.Copy(io.Discard, c) // until it is refused
		stop()
		_ = c.Close()
		<-time.After(10 * time.Millisecond)
	}
}
