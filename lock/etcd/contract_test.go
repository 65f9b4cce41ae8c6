package etcd

import (
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/contract"
)

func TestContract(t *testing.T) {
	r := fast(t)
	first := func(t testing.TB, election string) string {
		t.Helper()
		out, err := r.etcd.Ctl("get", "--prefix", "--keys-only", "--sort-by=CREATE", "--limit=1", "/leaderrun/"+election+"/queue/")
		if err != nil || out == "" {
			t.Fatalf("find the holder of %s: %q, %v", election, out, err)
		}
		return strings.TrimSpace(out)
	}
	contract.Run(t, contract.Suite{
		Open: func(testing.TB) lock.Store {
			s, err := Resolve(r.settings())
			r.must(err)
			store, err := Open(s)
			r.must(err)
			return store
		},
		TTL: 3 * time.Second,
		Faults: map[string]func(testing.TB, string){
			"lease revoked": func(t testing.TB, election string) {
				t.Helper()
				key := first(t, election)
				if _, err := r.etcd.Ctl("lease", "revoke", key[strings.LastIndexByte(key, '/')+1:]); err != nil {
					t.Fatal(err)
				}
			},
			"lock key deleted": func(t testing.TB, election string) {
				t.Helper()
				if _, err := r.etcd.Ctl("del", first(t, election)); err != nil {
					t.Fatal(err)
				}
			},
		},
		Record: func(t testing.TB, election string) (lock.Record, bool) {
			t.Helper()
			out, err := r.etcd.Ctl("get", "--print-value-only", "/leaderrun/"+election+"/record")
			if err != nil {
				t.Fatal(err)
			}
			if strings.TrimSpace(out) == "" {
				return lock.Record{}, false
			}
			rec, err := lock.DecodeRecord([]byte(out))
			if err != nil {
				t.Fatal(err)
			}
			return rec, true
		},
	})
}
