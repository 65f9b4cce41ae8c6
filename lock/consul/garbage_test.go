package consul

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// What stands before the agent answers by itself for a while, with what looks like
// "there is none": nobody loses anything, and nobody is told of permissions.
func TestAnswersOfNobody(t *testing.T) {
	all := newRig(t, servers.ConsulOptions{})
	for _, text := range []string{"null", "[]"} {
		t.Run(text, func(t *testing.T) {
			r := all.on(t)
			agent := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.consul.Endpoints()[0]})
			agent.ErrorLog = quiet
			var alone atomic.Bool
			before := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if alone.Load() {
					_, _ = io.WriteString(w, text)
					return
				}
				agent.ServeHTTP(w, req)
			}))
			defer before.Close()
			host := strings.TrimPrefix(before.URL, "http://")
			s := r.open(host)
			a := r.lead(s, "a")
			b := r.standBy(r.open(host), "b")
			a.Survives(1, testTTL)
			alone.Store(true)
			t.Log(a.Hears(lock.RenewalFailing, testTTL).Err)
			if _, err := s.Locker("e").Holder(t.Context()); !errors.Is(err, lock.ErrUnavailable) {
				t.Errorf("holder: %v", err)
			}
			alone.Store(false)
			a.Survives(2, testTTL)
			b.Waits(0)
			a.Release()
			b.Wins(testTTL)
			b.Release()
		})
	}
}
