package consul

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// campaign begins one for the test to make the steps of.
func (r *rig) campaign(s *Store, id string) *campaign {
	r.Helper()
	l := s.Locker("e").(*locker)
	c := lock.Candidate{ID: id, TTL: testTTL, Notify: func(lock.Notice) {}}
	x, g, err := s.create(r.Context(), l.keys, c, "e")
	r.must(err)
	k, err := lock.Keep(x, g, c)
	r.must(err)
	r.Cleanup(func() {
		k.Stop()
		_ = l.leave(x, true)
	})
	a := newCampaign(l, c, x, k, g.Lifetime)
	r.must(a.look(r.Context()))
	return a
}

// A key that was given up cleanly lets the next one write its record at once, but
// never over one that came since.
func (r *rig) testCleanOnlyAsSeen() {
	held := func() string {
		return string(lock.Record{Token: 1, State: lock.Held, Owner: "somebody", TTL: testTTL}.Encode())
	}
	for name, strike := range map[string]func(){
		"nothing":         func() {},
		"record replaced": func() { r.put("e", "record", held()) },
		"record deleted and made anew": func() {
			r.del("e", "record")
			r.put("e", "record", held())
		},
		"record deleted": func() { r.del("e", "record") },
		"key written to": func() { r.put("e", ".lock", string(r.get("e", ".lock").Value)) },
	} {
		s := r.open() // which remembers nothing
		holder := r.lead(s, "holder")
		a := r.campaign(s, "a")
		holder.Release()
		a.watched, a.unwatch = a.l.keys.lock(), func() {}
		r.must(a.note(event{a.watched, r.get("e", ".lock")}))
		if a.rec.State != lock.Clean || a.rec.Token != holder.Lease.Token() || a.rec.index != a.key.index {
			r.Fatalf("%s: %+v, %+v", name, a.key, a.rec)
		}
		before := r.get("e", "record").ModifyIndex
		strike()
		r.must(a.acquire(r.Context()))
		won := a.rec.heldBy(a.x.id)
		if won != (name == "nothing") || won == a.refused {
			r.Errorf("%s: won: %v, refused: %v", name, won, a.refused)
		}
		if won {
			if rec := r.record("e"); rec.Owner != a.x.id || rec.Token <= holder.Lease.Token() || r.get("e", "record").ModifyIndex == before {
				r.Errorf("record %+v", rec)
			}
		}
		if strings.Contains(name, "anew") || strings.Contains(name, "replaced") {
			r.must(a.look(r.Context()))
			r.must(a.acquire(r.Context()))
			if a.key.session != a.x.id || a.settled() {
				r.Errorf("%s: does not settle: %+v, %+v", name, a.key, a.rec)
			}
			r.del("e", "record")
		}
		a.keeper.Stop()
		r.must(a.l.leave(a.x, true))
	}
}

// Requests that arrive late, or whose answers are lost, leave and take nothing.
func (r *rig) testLateAndLost() {
	s := r.open()
	holder := r.lead(s, "holder")
	a := r.campaign(s, "a")
	for range 2 { // the second finds the place of the first
		r.must(a.enqueue(r.Context()))
		if got := r.queue(); !a.placed || len(got) != 1 || got[0] != a.x.id {
			r.Fatalf("queue %v", got)
		}
	}
	holder.Release()
	r.must(a.look(r.Context()))
	key, seen := a.key, a.rec
	r.must(a.acquire(r.Context()))
	rec := a.rec
	if !rec.heldBy(a.x.id) || len(r.queue()) != 0 {
		r.Fatalf("record %+v, queue %v", rec, r.queue())
	}
	a.key, a.rec = key, seen
	r.must(a.acquire(r.Context()))
	if !a.refused {
		r.Error("won twice")
	}
	r.must(a.look(r.Context()))
	if again, err := a.win(r.Context()); err != nil || again.index != rec.index || again.Token != rec.Token {
		r.Errorf("found victory %+v, %v; want %+v", again, err, rec)
	}
	a.keeper.Stop()
	r.must(a.l.leave(a.x, true))
	if err := a.enqueue(r.Context()); !errors.Is(err, lock.ErrLost) {
		r.Errorf("a place after the end: %v", err)
	}
	if got := r.queue(); len(got) != 0 {
		r.Errorf("queue %v", got)
	}
}

// A lock that comes late brings its record with it. Until its session has ended it may
// come, also after a campaign that was given up has found nothing to give back.
func TestLateVictory(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	r.lead(r.open(), "first").Release()
	late := make(chan string, 1)
	at := r.behind(func(_ http.ResponseWriter, req *http.Request) bool {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case strings.Contains(string(body), `"lock"`):
			late <- string(body)
			<-req.Context().Done()
			return false
		case strings.HasPrefix(req.URL.Path, "/v1/session/destroy/"):
			if status := r.deliver(<-late); status != http.StatusOK {
				t.Errorf("late transaction: %d", status)
			}
		}
		return true
	})
	a := r.startWith(r.openWith(r.settingsFor(time.Minute, at)), lock.Candidate{ID: "a", TTL: time.Minute})
	eventually(t, "the request", patient, func() bool { return len(late) == 1 })
	a.Cancel(errors.New("enough"))
	within(t, "the end", patient, a.Done)
	if rec := r.record("e"); rec.State != lock.Clean || rec.Owner != a.session() {
		t.Errorf("record: %+v", rec)
	}
	r.start(r.open(), "b").Wins(prompt)
}

// A Put that was given up and arrives late writes nothing over what a later one wrote,
// also if that wrote once more what stood there.
func TestLatePut(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	late := make(chan string, 1)
	at := r.behind(func(_ http.ResponseWriter, req *http.Request) bool {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		value := base64.StdEncoding.EncodeToString([]byte("old"))
		if !strings.Contains(string(body), "/values/") || !strings.Contains(string(body), value) {
			return true
		}
		late <- string(body)
		<-req.Context().Done()
		return false
	})
	a := r.lead(r.open(at), "a")
	for key, values := range map[string][]string{
		"none before": {"new"}, "other": {"first", "new"}, "same": {"first", "first"},
	} {
		last := len(values) - 1
		for _, v := range values[:last] {
			r.must(a.Lease.Put(t.Context(), key, []byte(v)))
		}
		ctx, giveUp := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Lease.Put(ctx, key, []byte("old")) }()
		txn := within(t, "the request", patient, late)
		giveUp()
		if err := within(t, "the end of it", patient, done); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: given up: %v", key, err)
		}
		r.must(a.Lease.Put(t.Context(), key, []byte(values[last])))
		status := r.deliver(txn)
		if got := string(r.get("e", "values/"+key).Value); status != http.StatusConflict || got != values[last] {
			t.Errorf("%s: value %q, status of the late transaction %d; want %q", key, got, status, values[last])
		}
	}
	a.Release()
}

// What changed between reading and writing is told, and the next Put goes through.
func TestPutMeanwhile(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	var meddle atomic.Bool
	at := r.behind(func(_ http.ResponseWriter, req *http.Request) bool {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		if strings.Contains(string(body), `"cas"`) && meddle.Swap(false) {
			r.put("e", "values/key", "another")
		}
		return true
	})
	a := r.lead(r.open(at), "a")
	meddle.Store(true)
	if err := a.Lease.Put(t.Context(), "key", []byte("new")); !errors.Is(err, lock.ErrUnavailable) || errors.Is(err, lock.ErrLost) {
		t.Errorf("put: %v, want ErrUnavailable", err)
	} else {
		t.Log(err)
	}
	r.must(a.Lease.Put(t.Context(), "key", []byte("new")))
	if got := string(r.get("e", "values/key").Value); got != "new" {
		t.Errorf("value %q", got)
	}
	a.Release()
}

// deliver sends a transaction to Consul, and returns the status of the answer.
func (r *rig) deliver(txn string) int {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPut, "http://"+r.consul.Endpoints()[0]+"/v1/txn", strings.NewReader(txn))
	r.must(err)
	resp, err := http.DefaultClient.Do(req)
	r.must(err)
	defer resp.Body.Close()
	return resp.StatusCode
}
