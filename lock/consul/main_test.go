package consul

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

func TestMain(m *testing.M) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "CONSUL_") {
			_ = os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}

// patient bounds waits whose length is not the matter; prompt is "at once" on a
// loaded machine.
const (
	patient = 20 * time.Second
	prompt  = 1500 * time.Millisecond
)

// testTTL is below Consul's own least: the servers here are told otherwise.
const testTTL = 3 * time.Second

// leastPrivilege is the policy in docs/stores.md.
const leastPrivilege = `
key_prefix "leaderrun/" { policy = "write" }
session "leaderrun" { policy = "write" }
node "leaderrun" { policy = "write" }
`

// Tests that mostly wait run two at a time, each with a cluster of its own.

// A rig is a cluster, and connections to it or to what stands before it.
type rig struct {
	*testing.T
	consul *servers.Consul
	admin  *api.Client
	token  string // the file of the token that settings name
}

func newRig(t *testing.T, o servers.ConsulOptions) *rig {
	t.Helper()
	if o.MinTTL == 0 {
		o.MinTTL = time.Second
	}
	r := &rig{T: t, consul: servers.StartConsul(t, o)}
	r.admin = r.adminAt(r.consul.Endpoints()[0])
	if o.ACL {
		_, token, err := r.consul.NewToken(leastPrivilege)
		r.must(err)
		r.token = r.file("token", token)
	}
	return r
}

// adminAt is Consul's own client with all rights, to cause trouble by hand.
func (r *rig) adminAt(endpoint string) *api.Client {
	r.Helper()
	conf := api.DefaultNonPooledConfig()
	conf.Address, conf.Token = endpoint, r.consul.Token()
	if r.consul.CA() != "" {
		conf.Scheme = "https"
		conf.TLSConfig = api.TLSConfig{CAFile: r.consul.CA(), CertFile: r.consul.ClientCert(), KeyFile: r.consul.ClientKey()}
	}
	c, err := api.NewClient(conf)
	r.must(err)
	return c
}

// on is the same cluster for a part of a test.
func (r *rig) on(t *testing.T) *rig {
	t.Helper()
	s := *r
	s.T = t
	return &s
}

// file makes one with that content.
func (r *rig) file(name, content string) string {
	r.Helper()
	path := filepath.Join(r.TempDir(), name)
	r.must(os.WriteFile(path, []byte(content+"\n"), 0o600))
	return path
}

func (r *rig) settings(hosts ...string) lock.Settings {
	r.Helper()
	if len(hosts) == 0 {
		hosts = r.consul.Endpoints()
	}
	timing, err := lock.NewTiming(testTTL, 0)
	r.must(err)
	return lock.Settings{
		URL:   lock.URL{Scheme: "consul", Hosts: hosts},
		TLSCA: r.consul.CA(), TLSCert: r.consul.ClientCert(), TLSKey: r.consul.ClientKey(),
		ACLTokenFile: r.token, DefaultTimeout: timing,
	}
}

// open connects; the first host is the first that is tried.
func (r *rig) open(hosts ...string) *Store {
	r.Helper()
	return r.openWith(r.settings(hosts...))
}

func (r *rig) openWith(settings lock.Settings) *Store {
	r.Helper()
	resolved, err := Resolve(settings)
	r.must(err)
	s, err := open(resolved)
	r.must(err)
	s.pool.Begin(settings.URL.Hosts[0])
	r.Cleanup(func() { _ = s.Close() })
	return s
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// get reads a key of an election as it is stored.
func (r *rig) get(election, key string) *api.KVPair {
	r.Helper()
	p, _, err := r.admin.KV().Get("leaderrun/"+election+"/"+key, &api.QueryOptions{RequireConsistent: true})
	r.must(err)
	return p
}

func (r *rig) put(election, key, value string) {
	r.Helper()
	_, err := r.admin.KV().Put(&api.KVPair{Key: "leaderrun/" + election + "/" + key, Value: []byte(value)}, nil)
	r.must(err)
}

func (r *rig) del(election, key string) {
	r.Helper()
	_, err := r.admin.KV().Delete("leaderrun/"+election+"/"+key, nil)
	r.must(err)
}

func (r *rig) destroy(session string) {
	r.Helper()
	_, err := r.admin.Session().Destroy(session, nil)
	r.must(err)
}

// record reads what stands in the store.
func (r *rig) record(election string) lock.Record {
	r.Helper()
	p := r.get(election, "record")
	if p == nil {
		r.Fatal("no record")
	}
	rec, err := lock.DecodeRecord(p.Value)
	r.must(err)
	return rec
}

// sessions lists those that there are.
func (r *rig) sessions() []*api.SessionEntry {
	r.Helper()
	list, _, err := r.admin.Session().List(&api.QueryOptions{RequireConsistent: true})
	r.must(err)
	return list
}

func within[T any](t *testing.T, what string, limit time.Duration, c <-chan T) (v T) {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case v = <-c:
	case <-timer.C:
		t.Fatalf("after %v still waiting for %s", limit, what)
	}
	return v
}

// eventually polls for what causes no event.
func eventually(t *testing.T, what string, limit time.Duration, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(limit); !cond(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("after %v still waiting for %s", limit, what)
		}
	}
}
