package consul

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
)

// A record is that of the key, or none with an error that names the key; whoever has
// the lock settles for each that goes on and is not its own.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"token":7,"state":"held","owner":"9d2bb2ca-1f2d-5e1c-8a7e-9b6f0a1c2d3e"}`), uint64(5))
	f.Add([]byte(`{"token":7,"state":"held"}`), uint64(5))
	f.Add([]byte(""), uint64(0))
	f.Fuzz(func(t *testing.T, value []byte, index uint64) {
		const key = "leaderrun/job/record"
		r, err := decodeRecord(key, &api.KVPair{Key: key, Value: value, CreateIndex: 1, ModifyIndex: index})
		if r.index != index || r.key != key {
			t.Errorf("%q: %+v", value, r)
		}
		if err != nil {
			if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), key) || r.State != "" || r.heldBy("") || r.heldBy(r.Owner) {
				t.Errorf("%q: %+v, %v", value, r, err)
			}
			return
		}
		a := &campaign{x: &session{id: "me"}, rec: r, settle: settling{from: 1 << 62}}
		if r.State == lock.Held && r.Owner != "me" && a.settled() {
			t.Errorf("%q: nobody settles for %+v", value, r)
		}
	})
}

// A lock key that a session holds is nobody's to take, whatever flags it bears, and
// one that was made by nobody we know is never taken in silence.
func FuzzLockKey(f *testing.F) {
	f.Add("", uint64(0), uint64(1), "", false)
	f.Add("s", lockFlags, uint64(1), "s", true)
	f.Add("", consulLockFlags, uint64(1), "", false)
	f.Add("s", uint64(1), uint64(0), "other", true)
	f.Fuzz(func(t *testing.T, session string, flags, index uint64, owner string, recorded bool) {
		key := lockKeyOf(&api.KVPair{Session: session, Flags: flags, CreateIndex: 1, ModifyIndex: index})
		rec := record{}
		if recorded {
			rec = record{lock.Record{State: lock.Held, Owner: owner, Token: 1}, "record", 1}
		}
		err := key.foreign("leaderrun/job/.lock", rec)
		ours := rec.heldBy(session) || flags == lockFlags || index == 0 || session == "" && (recorded || flags == consulLockFlags)
		if (err == nil) != ours || err != nil && !strings.Contains(err.Error(), "leaderrun/job/.lock") {
			t.Errorf("%+v with %+v: %v", key, rec, err)
		}
		if session == "" && err != nil && !errors.Is(err, lock.ErrConfig) {
			t.Errorf("%+v: waits for ever: %v", key, err)
		}
	})
}

// A ticket names one session, or nothing is done.
func FuzzTicket(f *testing.F) {
	f.Add([]byte(`{"election":"job","session":"9d2bb2ca-1f2d-5e1c-8a7e-9b6f0a1c2d3e"}`))
	f.Add([]byte(`{"election":"","session":"9d2bb2ca-1f2d-5e1c-8a7e-9b6f0a1c2d3e"}`))
	f.Add([]byte(`{"election":"job","session":"9d2bb2ca-1f2d-5e1c-8a7e-9b6f0a1c2d3e\n"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var named, again ticket
		if json.Unmarshal(data, &named) != nil {
			return
		}
		switch err := named.check(); {
		case err != nil && !errors.Is(err, lock.ErrConfig):
			t.Errorf("%q: %v", data, err)
		case err == nil && (len(named.Session) != 36 || strings.ContainsAny(named.Session, "/?#%") || named.Election == ""):
			t.Errorf("%q names %+v", data, named)
		case err == nil && (json.Unmarshal(newTicket(named.Election, named.Session).Data, &again) != nil || again != named):
			t.Errorf("%q: %+v, again %+v", data, named, again)
		}
	})
}

// Whatever Consul's variables and the URL's parameters hold, they resolve to a URL
// that resolves to itself, or are refused in one line of the right kind.
func FuzzVariables(f *testing.F) {
	f.Add("https://b", "true", "me:sesame", "dc=a")
	f.Add("unix:///run/consul", "", "", "")
	f.Add("[::1]", "maybe", "password", "socket=/x&ns=y")
	f.Add("http://h:1/?token=sesame", "0", "", "dc=&dc=")
	f.Fuzz(func(t *testing.T, addr, ssl, auth, query string) {
		params, err := url.ParseQuery(query)
		if err != nil || strings.ContainsRune(addr+ssl+auth, 0) {
			return
		}
		t.Setenv("CONSUL_HTTP_ADDR", addr)
		t.Setenv("CONSUL_HTTP_SSL", ssl)
		t.Setenv("CONSUL_HTTP_AUTH", auth)
		s, err := Resolve(lock.Settings{URL: lock.URL{Scheme: "consul", Params: params}})
		if err != nil {
			_, password, _ := strings.Cut(auth, ":")
			if !errors.Is(err, lock.ErrConfig) || len(password) > 8 && strings.Contains(err.Error(), password) {
				t.Errorf("%q, %q, %q, %q: %v", addr, ssl, auth, query, err)
			}
			return
		}
		again, err := Resolve(s)
		if err != nil || again.URL.String() != s.URL.String() || again.TLS != s.TLS || again.User != s.User {
			t.Errorf("%q, %q, %q, %q: %+v, again %+v, %v", addr, ssl, auth, query, s, again, err)
		}
	})
}
