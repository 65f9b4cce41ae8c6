package consul

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
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
	b.waits(lookAfter)
	a.survives(1, testTTL)
	a.release()
	began := bootclock.Now()
	b.wins(lookAfter + prompt)
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
