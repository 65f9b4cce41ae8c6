package etcd

import (
	"bytes"
	"context"
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
)

const txnPath = "/etcdserverpb.KV/Txn"

// behind serves the cluster through a proxy of gRPC, which shows the gate each
// transaction before it goes on.
func (r *rig) behind(gate func(ctx context.Context, body string) bool) string {
	r.Helper()
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.etcd.Endpoints()[0]})
	to.ErrorLog = log.New(io.Discard, "", 0) // of requests that were given up
	to.FlushInterval = -1
	to.Transport = r.http2()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == txnPath {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return // given up
			}
			req.Body = io.NopCloser(bytes.NewReader(body))
			if !gate(req.Context(), string(body)) {
				return
			}
		}
		to.ServeHTTP(w, req)
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	r.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func (r *rig) http2() *http.Transport {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	r.Cleanup(t.CloseIdleConnections)
	return t
}

// deliver sends a transaction to etcd, and waits for the answer.
func (r *rig) deliver(txn string) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://"+r.etcd.Endpoints()[0]+txnPath, strings.NewReader(txn))
	r.must(err)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	resp, err := r.http2().RoundTrip(req)
	r.must(err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	r.must(err)
	if status := resp.Trailer.Get("Grpc-Status"); status != "0" {
		r.Errorf("late transaction: status %q", status)
	}
}

// A Put that was given up and arrives late writes nothing over what a later one wrote.
func TestLatePut(t *testing.T) {
	r := fast(t)
	late := make(chan string, 1)
	at := r.behind(func(ctx context.Context, body string) bool {
		if !strings.Contains(body, "too old") {
			return true
		}
		late <- body
		<-ctx.Done()
		return false
	})
	s := r.open(at)
	a := r.lead(s, "a")
	for key, values := range map[string][]string{
		"none before": {"new"}, "other": {"first", "new"}, "same": {"first", "first"},
	} {
		last := len(values) - 1
		for _, v := range values[:last] {
			r.must(a.Lease.Put(t.Context(), key, []byte(v)))
		}
		ctx, giveUp := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Lease.Put(ctx, key, []byte("too old")) }()
		txn := within(t, "the request", patient, late)
		giveUp()
		if err := within(t, "the end of it", patient, done); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: given up: %v", key, err)
		}
		r.must(a.Lease.Put(t.Context(), key, []byte(values[last])))
		r.deliver(txn)
		got, err := r.open().Locker("e").Get(t.Context(), key)
		if err != nil || string(got) != values[last] {
			t.Errorf("%s: value %q after the late transaction, %v; want %q", key, got, err, values[last])
		}
	}
	a.Release()
}

// What changed between reading and writing is told, and the next Put goes through.
func TestPutMeanwhile(t *testing.T) {
	r := fast(t)
	var meddle atomic.Bool
	s := r.open(r.behind(func(_ context.Context, body string) bool {
		if strings.Contains(body, "/values/") && meddle.Swap(false) {
			r.ctl("put", "/leaderrun/e/values/key", "another")
		}
		return true
	}))
	a := r.lead(s, "a")
	meddle.Store(true)
	if err := a.Lease.Put(t.Context(), "key", []byte("new")); !errors.Is(err, lock.ErrUnavailable) || errors.Is(err, lock.ErrLost) {
		t.Errorf("put: %v, want ErrUnavailable", err)
	} else {
		t.Log(err)
	}
	r.must(a.Lease.Put(t.Context(), "key", []byte("new")))
	if got, err := s.Locker("e").Get(t.Context(), "key"); err != nil || string(got) != "new" {
		t.Errorf("value %q, %v", got, err)
	}
	a.Release()
}
