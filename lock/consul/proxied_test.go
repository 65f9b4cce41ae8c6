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
	"sync/atomic"
	"testing"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// behind serves the cluster through a proxy of HTTP, as a gateway does.
func (r *rig) behind(gate func(http.ResponseWriter, *http.Request) bool) string {
	r.Helper()
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.consul.Endpoints()[0]})
	to.ErrorLog = log.New(io.Discard, "", 0) // of requests that were given up
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if gate(w, req) {
			to.ServeHTTP(w, req)
		}
	}))
	r.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// A gateway before Consul may ask for a user.
func TestPassword(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	at := r.behind(func(w http.ResponseWriter, req *http.Request) bool {
		user, password, _ := req.BasicAuth()
		if user == "me" && password == "opensesame" {
			return true
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		return false
	})
	s := r.settings(at)
	r.refused(s, lock.ErrDenied, "--user", "--password-file", "CONSUL_HTTP_AUTH")
	s.User, s.PasswordFile = "me", r.file("wrong", "closesesame")
	r.refused(s, lock.ErrDenied, "--user")
	s.PasswordFile = r.file("right", "opensesame")
	r.lead(r.openWith(s), "a").Release()
	s.User, s.PasswordFile = "", ""
	t.Setenv("CONSUL_HTTP_AUTH", "me:opensesame")
	a := r.lead(r.openWith(s), "a")
	a.Survives(1, testTTL)
}

// What answers and is no Consul, or one in trouble.
func TestGateway(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{})
	var status atomic.Int32
	at := r.behind(func(w http.ResponseWriter, _ *http.Request) bool {
		if code := int(status.Load()); code != 0 {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(code)
			return false
		}
		return true
	})
	for code, kind := range map[int]error{
		http.StatusNotFound: lock.ErrConfig, http.StatusMovedPermanently: lock.ErrConfig, http.StatusNoContent: lock.ErrConfig,
		http.StatusBadGateway: lock.ErrUnavailable, http.StatusServiceUnavailable: lock.ErrUnavailable, http.StatusTooManyRequests: lock.ErrUnavailable,
	} {
		status.Store(int32(code))
		r.refused(r.settings(at), kind, at)
	}
	// A holder takes none of that for the end of its tenure.
	status.Store(0)
	a := r.lead(r.open(at), "a")
	for _, code := range []int{http.StatusNotFound, http.StatusBadGateway} {
		status.Store(int32(code))
		t.Log(a.Hears(lock.RenewalFailing, testTTL).Err)
		status.Store(0)
		a.Survives(2, testTTL)
	}
	status.Store(http.StatusNotFound)
	a.expires()
	if !errors.Is(a.Lease.Err(), lock.ErrExpired) {
		t.Error(a.Lease.Err())
	}
	status.Store(0)
	a.Release()
}
