package etcd

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

func TestMain(m *testing.M) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "ETCDCTL_") {
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

// A rig is a cluster, and connections to it or to what stands before it.
type rig struct {
	*testing.T
	etcd *servers.Etcd
}

func newRig(t *testing.T, o servers.EtcdOptions) *rig {
	t.Helper()
	return &rig{t, servers.StartEtcd(t, o)}
}

// fast is one node, for what does not measure.
func fast(t *testing.T) *rig {
	t.Helper()
	return newRig(t, servers.EtcdOptions{Fast: true})
}

func (r *rig) settings(hosts ...string) lock.Settings {
	r.Helper()
	if len(hosts) == 0 {
		hosts = r.etcd.Endpoints()
	}
	timing, err := lock.NewTiming(testTTL, 0)
	if err != nil {
		r.Fatal(err)
	}
	return lock.Settings{
		URL:   lock.URL{Scheme: "etcd", Hosts: hosts},
		TLSCA: r.etcd.CA(), TLSCert: r.etcd.ClientCert(), TLSKey: r.etcd.ClientKey(),
		DefaultTimeout: timing,
	}
}

const testTTL = 3 * time.Second

// open connects; the first host is the first that is dialled.
func (r *rig) open(hosts ...string) *Store {
	r.Helper()
	return r.openWith(r.settings(hosts...))
}

func (r *rig) openWith(settings lock.Settings) *Store {
	r.Helper()
	resolved, err := Resolve(settings)
	if err != nil {
		r.Fatal(err)
	}
	s, err := open(resolved)
	if err != nil {
		r.Fatal(err)
	}
	s.pool.Begin(settings.URL.Hosts[0])
	r.Cleanup(func() { _ = s.Close() })
	return s
}

func (r *rig) ctl(args ...string) string {
	r.Helper()
	out, err := r.etcd.Ctl(args...)
	if err != nil {
		r.Fatal(err)
	}
	return out
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// record reads what stands in the store.
func (r *rig) record(election string) lock.Record {
	r.Helper()
	out := r.ctl("get", "--print-value-only", "/leaderrun/"+election+"/record")
	rec, err := lock.DecodeRecord([]byte(out))
	if err != nil {
		r.Fatal(err)
	}
	return rec
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
