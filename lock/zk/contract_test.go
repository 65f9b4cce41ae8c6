package zk

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/contract"
	"leaderrun/scripts/servers"
)

// contractTTL has room for the candidates' loss grace.
const contractTTL = 5 * time.Second

func TestContract(t *testing.T) {
	for name, o := range map[string]servers.ZooKeeperOptions{
		"one node":                    {},
		"three nodes":                 {Nodes: 3},
		"one node, TLS and a user":    {TLS: true, User: "admin", Password: "opensesame"},
		"three nodes, TLS and a user": {Nodes: 3, TLS: true, User: "admin", Password: "opensesame"},
	} {
		t.Run(name, func(t *testing.T) {
			o.Fast = true
			r := newRig(t, o)
			if o.User != "" {
				r.leastPrivileged()
			}
			r.contract()
		})
	}
}

// leastPrivileged makes the user of the README, who may do just enough, and logs
// in as that.
func (r *rig) leastPrivileged() {
	r.Helper()
	const user, password = "runner", "sesame"
	acl := zk.DigestACL(zk.PermCreate|zk.PermDelete|zk.PermRead|zk.PermWrite, user, password)
	_, err := r.admin.Create("/leaderrun", nil, 0, acl)
	r.must(err)
	r.user, r.passwordFile = user, r.secret(password)
}

func (r *rig) secret(password string) (file string) {
	r.Helper()
	file = filepath.Join(r.TempDir(), "password")
	r.must(os.WriteFile(file, []byte(password+"\n"), 0o600))
	return file
}

func (r *rig) contract() {
	r.cabled()
	contract.Run(r.T, contract.Suite{
		Open: func(testing.TB) lock.Store {
			settings := r.settings()
			settings.DefaultTimeout.Request = 2 * time.Second // all tests of the suite at once, on JVMs that just started
			s, err := Resolve(settings)
			r.must(err)
			store, err := Open(s)
			r.must(err)
			return store
		},
		TTL: contractTTL,
		Faults: map[string]func(testing.TB, string){
			"session ended": func(t testing.TB, election string) {
				t.Helper()
				_, stat := r.first(t, election)
				r.endSession(t, stat.EphemeralOwner)
			},
			"node deleted": func(t testing.TB, election string) {
				t.Helper()
				path, _ := r.first(t, election)
				if err := r.admin.Delete(path, -1); err != nil {
					t.Fatal(err)
				}
			},
		},
		Record: func(t testing.TB, election string) (lock.Record, bool) {
			t.Helper()
			path := "/leaderrun/" + election + "/record"
			if _, err := r.admin.Sync(path); err != nil {
				t.Fatal(err)
			}
			data, _, err := r.admin.Get(path)
			if errors.Is(err, zk.ErrNoNode) {
				return lock.Record{}, false
			}
			if err != nil {
				t.Fatal(err)
			}
			rec, err := lock.DecodeRecord(data)
			if err != nil {
				t.Fatal(err)
			}
			return rec, true
		},
	})
}

// first finds the place of the holder.
func (r *rig) first(t testing.TB, election string) (string, *zk.Stat) {
	t.Helper()
	dir := "/leaderrun/" + election + "/queue"
	if _, err := r.admin.Sync(dir); err != nil {
		t.Fatal(err)
	}
	names, _, err := r.admin.Children(dir)
	if err != nil {
		t.Fatal(err)
	}
	var first *place
	for _, name := range names {
		if p := parsePlace(dir, name); first == nil || p.before(*first) {
			first = &p
		}
	}
	there, stat, err := r.admin.Exists(first.path)
	if err != nil || !there {
		t.Fatalf("find the holder of %s: %v", election, err)
	}
	return first.path, stat
}

// endSession ends a session of somebody else. Its password is no secret: ZooKeeper
// takes the first numbers of java.util.Random, seeded with the session's id and a
// constant (ZooKeeperServer.generatePasswd).
//
// The owner would take the session back at once. If it did so while the session is
// ended, it would have a connection without a session that nobody closes, on which
// ZooKeeper drops requests without a word (MissingSessionException; found by the
// next renewal). So it hears nothing meanwhile.
func (r *rig) endSession(t testing.TB, id int64) {
	t.Helper()
	r.cables.mu.Lock()
	defer r.cables.mu.Unlock()
	for _, p := range r.cables.all {
		p.Hold()
		defer p.Resume()
	}
	if err := r.tryToEnd(id); err != nil {
		t.Fatalf("end session %x: %v", id, err)
	}
}

// tryToEnd returns errExpired of a session that has ended.
func (r *rig) tryToEnd(id int64) error {
	r.Helper()
	const superSecret = 0xB3415C00
	h := hello{seen: new(atomic.Int64), timeout: testTTL, session: id}
	seed := (uint64(id^superSecret) ^ 0x5DEECE66D) & (1<<48 - 1)
	for i := 0; i < secretLen; i += 4 {
		seed = (seed*0x5DEECE66D + 0xB) & (1<<48 - 1)
		binary.LittleEndian.PutUint32(h.secret[i:], uint32(seed>>16))
	}
	settings, err := Resolve(r.settings(r.zoo.Endpoints()...))
	r.must(err)
	c, err := newDialer(settings).dial(r.Context(), settings.URL.Hosts[0], nil, h)
	if err != nil {
		return err
	}
	defer c.Close(false)
	return c.endSession(r.Context())
}
