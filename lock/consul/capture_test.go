package consul

import (
	"net"
	"net/http"
	"testing"
	"time"

	"leaderrun/lock"
)

// capture returns the first request that a store makes, as something that listens
// and is no Consul gets it.
func capture(t *testing.T, s lock.Settings) *http.Request {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests := make(chan *http.Request, 10)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		w.WriteHeader(http.StatusTeapot)
	}), ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	s.URL.Hosts = []string{l.Addr().String()}
	store, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	_, err = store.Locker("e").Holder(t.Context())
	t.Log(err)
	return within(t, "a request", prompt, requests)
}
