package etcd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/contract"
	"leaderrun/scripts/servers"
)

func TestContract(t *testing.T) {
	// Many log in at once, which bcrypt makes slow by default.
	users := servers.EtcdOptions{TLS: true, User: "admin", Password: "opensesame", Args: []string{"--bcrypt-cost=4"}}
	users3 := users
	users3.Nodes = 3
	for name, o := range map[string]servers.EtcdOptions{
		"one node":                    {},
		"three nodes":                 {Nodes: 3},
		"one node, TLS and a user":    users,
		"three nodes, TLS and a user": users3,
	} {
		t.Run(name, func(t *testing.T) {
			o.Fast = true
			r := newRig(t, o)
			settings := r.settings()
			if o.User != "" {
				settings.User, settings.PasswordFile = r.leastPrivileged()
			}
			r.contract(settings)
		})
	}
}

// leastPrivileged makes the user of the README, who may do just enough.
func (r *rig) leastPrivileged() (user, passwordFile string) {
	r.Helper()
	r.ctl("role", "add", "leaderrun")
	r.ctl("role", "grant-permission", "--prefix=true", "leaderrun", "readwrite", "/leaderrun/")
	r.ctl("user", "add", "runner:sesame")
	r.ctl("user", "grant-role", "runner", "leaderrun")
	passwordFile = filepath.Join(r.TempDir(), "password")
	r.must(os.WriteFile(passwordFile, []byte("sesame\n"), 0o600))
	return "runner", passwordFile
}

func (r *rig) contract(settings lock.Settings) {
	first := func(t testing.TB, election string) string {
		t.Helper()
		out, err := r.etcd.Ctl("get", "--prefix", "--keys-only", "--sort-by=CREATE", "--limit=1", "/leaderrun/"+election+"/queue/")
		if err != nil || out == "" {
			t.Fatalf("find the holder of %s: %q, %v", election, out, err)
		}
		return strings.TrimSpace(out)
	}
	contract.Run(r.T, contract.Suite{
		Open: func(testing.TB) lock.Store {
			s, err := Resolve(settings)
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
