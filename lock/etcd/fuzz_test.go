package etcd

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"leaderrun/lock"
	pb "leaderrun/lock/etcd/etcdpb"
)

// A record is that of the key, or none with an error that names the key; whoever is
// first settles for each that goes on and is not its own.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"token":7,"state":"held","owner":"694d7ec4d8ea1b0c"}`))
	f.Add([]byte(`{"token":7,"state":"held"}`))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, value []byte) {
		const key, rev, seen = "/leaderrun/job/record", 5, 9
		r, err := decodeRecord(key, &pb.KeyValue{Key: []byte(key), Value: value, ModRevision: rev}, seen)
		if r.rev != rev || r.seen != seen || r.key != key {
			t.Errorf("%q: %+v", value, r)
		}
		if err != nil {
			if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), key) || r.State != "" || r.Owner != "" {
				t.Errorf("%q: %+v, %v", value, r, err)
			}
			return
		}
		a := &campaign{x: &session{id: 1}, v: view{rec: r}}
		if r.State == lock.Held && r.Owner != leaseName(1) && a.settled() {
			t.Errorf("%q: nobody settles for %+v", value, r)
		}
	})
}

// What another program puts into the queue is waited for, and is no record's owner.
func FuzzPlace(f *testing.F) {
	f.Add("694d7ec4d8ea1b0c", []byte(`{"id":"a"}`), int64(0x694d7ec4d8ea1b0c))
	f.Add("", []byte(""), int64(0))
	f.Add("a/b/", []byte("null"), int64(-1))
	f.Fuzz(func(t *testing.T, name string, value []byte, lease int64) {
		k := keys{"/leaderrun/job"}
		p := placeOf([]*pb.KeyValue{{Key: []byte(k.queue() + name), Value: value, Lease: lease, CreateRevision: 5}})
		if p == nil || p.key != k.queue()+name || strings.Contains(p.owner(), "/") {
			t.Fatalf("%q: %+v", name, p)
		}
		if err := p.stranger(); lease == 0 && (err == nil || !strings.Contains(err.Error(), p.key)) {
			t.Errorf("%q: blocks for ever without a word: %v", name, err)
		}
	})
}

// A ticket names one lease, or nothing is done.
func FuzzTicket(f *testing.F) {
	f.Add([]byte(`{"election":"job","lease":"694d7ec4d8ea1b0c"}`))
	f.Add([]byte(`{"election":"job","lease":"694d7ec4d8ea1b0c "}`))
	f.Add([]byte(`{"lease":"-000000000000001"}`))
	f.Add([]byte("null"))
	s, err := open(lock.Settings{URL: lock.URL{Hosts: []string{"127.0.0.1:1"}, Path: "/leaderrun"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		var named ticket
		bad := json.Unmarshal(data, &named)
		if id, err := named.leaseID(); bad == nil && err == nil {
			var again ticket
			if json.Unmarshal(newTicket(named.Election, id).Data, &again) != nil || again != named {
				t.Errorf("%q: %+v, again %+v", data, named, again)
			}
			return // it would connect
		}
		if err := s.Release(t.Context(), lock.Ticket{Data: data}); !errors.Is(err, lock.ErrConfig) {
			t.Errorf("%q: %v", data, err)
		}
	})
}

// Whatever the variables of etcdctl hold, it is what --store could say as well, or
// refused in one line that names the setting and tells no secret.
func FuzzVariables(f *testing.F) {
	f.Add("http://b:2379/,http://a:1", "me:sesame", "")
	f.Add("https://a", "me", "/nowhere")
	f.Add("unix:///socket", "", "")
	f.Add("a,,b", ":", "\xff")
	f.Fuzz(func(t *testing.T, endpoints, user, ca string) {
		if strings.ContainsRune(endpoints+user+ca, 0) {
			return // no environment holds that
		}
		t.Setenv("ETCDCTL_ENDPOINTS", endpoints)
		t.Setenv("ETCDCTL_USER", user)
		t.Setenv("ETCDCTL_CACERT", ca)
		s, err := Resolve(lock.Settings{URL: lock.URL{Scheme: "etcd"}})
		if err != nil {
			_, password, _ := strings.Cut(user, ":")
			if !errors.Is(err, lock.ErrConfig) || len(password) > 8 && strings.Contains(err.Error(), password) {
				t.Errorf("%q, %q, %q: %v", endpoints, user, ca, err)
			}
			return
		}
		again, err := lock.ParseURL(s.URL.String())
		if err != nil || again.String() != s.URL.String() || len(again.Hosts) != len(s.URL.Hosts) {
			t.Errorf("%q: %s, read again %+v, %v", endpoints, s.URL, again, err)
		}
	})
}
