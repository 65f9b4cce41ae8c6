package zk

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient bounds waits whose length is not the matter; prompt is "at once" on a
// loaded machine.
const (
	patient = 20 * time.Second
	prompt  = 1500 * time.Millisecond
)

// testTick gives sessions of 1 to 10 s.
const (
	testTick = 500 * time.Millisecond
	testTTL  = 4 * time.Second
)

// A rig is an ensemble, and connections to it or to what stands before it.
type rig struct {
	*testing.T
	zoo   *servers.ZooKeeper
	admin *zk.Conn

	user, passwordFile string // to log in as, if set
	cables             *cables
}

// cables stand between candidates and the ensemble.
type cables struct {
	mu  sync.Mutex
	all []*servers.Proxy
}

func newRig(t *testing.T, o servers.ZooKeeperOptions) *rig {
	t.Helper()
	if o.Tick == 0 {
		o.Tick = testTick
	}
	r := &rig{T: t, zoo: servers.StartZooKeeper(t, o)}
	r.connectAdmin()
	return r
}

// cabled has candidates connect in a way that endSession can hold.
func (r *rig) cabled() *rig {
	r.Helper()
	r.cables = &cables{}
	for _, e := range r.zoo.Endpoints() {
		r.cables.all = append(r.cables.all, servers.NewProxy(r, e))
	}
	return r
}

func (r *rig) connectAdmin() {
	r.Helper()
	var err error
	r.admin, err = r.zoo.Admin()
	r.must(err)
	r.Cleanup(r.admin.Close)
}

// fast is one node, for what does not measure.
func fast(t *testing.T) *rig {
	t.Helper()
	return newRig(t, servers.ZooKeeperOptions{Fast: true})
}

func (r *rig) settings(hosts ...string) lock.Settings {
	r.Helper()
	if len(hosts) == 0 {
		hosts = r.zoo.Endpoints()
		if r.cables != nil {
			hosts = nil
			for _, p := range r.cables.all {
				hosts = append(hosts, p.Addr())
			}
		}
	}
	timing, err := lock.NewRelayedTiming(testTTL, 0)
	r.must(err)
	return lock.Settings{
		URL:   lock.URL{Scheme: "zk", Hosts: hosts},
		TLSCA: r.zoo.CA(), TLSCert: r.zoo.ClientCert(), TLSKey: r.zoo.ClientKey(),
		User: r.user, PasswordFile: r.passwordFile,
		DefaultTimeout: timing,
	}
}

// open connects; the first host is the first that is dialled.
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
	s.first = settings.URL.Hosts[0]
	s.common.Begin(s.first)
	r.Cleanup(func() { _ = s.Close() })
	return s
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
	data, _, err := r.admin.Get("/leaderrun/" + election + "/record")
	r.must(err)
	rec, err := lock.DecodeRecord(data)
	r.must(err)
	return rec
}

// queue returns the paths of an election's places.
func (r *rig) queue(election string) (all []string) {
	r.Helper()
	dir := "/leaderrun/" + election + "/queue"
	names, _, err := r.admin.Children(dir)
	if !errors.Is(err, zk.ErrNoNode) {
		r.must(err)
	}
	for _, name := range names {
		all = append(all, dir+"/"+name)
	}
	return all
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
func eventually(t testing.TB, what string, limit time.Duration, cond func() bool) {
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
