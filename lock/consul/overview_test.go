package consul

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

func (r *rig) elections(s *Store, want ...string) {
	r.Helper()
	if all, err := s.Elections(r.Context()); err != nil || !slices.Equal(all, want) {
		r.Errorf("elections %q, %v; want %q", all, err, want)
	}
}

// Keys of other programs are no elections, and in no queue, nor is a place that its
// session has left. An election that nobody has led yet is one if somebody waits for it.
// Who may read one alone is told to name it.
func TestOverviewBesideOthers(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{ACL: true})
	s := r.open()
	r.elections(s)
	for _, key := range []string{
		"leaderrun", "leaderrun/", "leaderrun/x", "leaderrun//record", "leaderrun/x/records", "leaderrun/x/values/record", "leaderrun/x/.lock",
		"leaderrun/x/queue/", "leaderrun/x/queue/job", "leaderrun/x/queue/record", "leaderrun2/y/record", "leaderrun/x%20y?&#/z",
	} {
		_, err := r.admin.KV().Put(&api.KVPair{Key: key, Value: []byte("x")}, nil)
		r.must(err)
	}
	r.elections(s)
	r.put("e", "queue/0b7e2d0e-0000-0000-0000-000000000000", `{"id":"dead"}`)
	session, _, err := r.admin.Session().CreateNoChecks(&api.SessionEntry{LockDelay: time.Millisecond}, nil)
	r.must(err)
	for name, value := range map[string]string{".lock": "x", "queue/" + session: "null", "queue/elsewhere": `{"id":"c"}`} {
		ok, _, err := r.admin.KV().Acquire(&api.KVPair{Key: "leaderrun/e/" + name, Value: []byte(value), Session: session}, nil)
		r.must(err)
		if !ok {
			t.Fatal(name)
		}
	}
	r.start(s, "b")
	eventually(t, "b in the queue", patient, func() bool {
		q, err := s.Locker("e").Queue(t.Context())
		r.must(err)
		return len(q) == 1 && q[0].ID == "b"
	})
	r.elections(s, "e")

	_, token, err := r.consul.NewToken(strings.Replace(leastPrivilege, `"leaderrun/"`, `"leaderrun/e/"`, 1))
	r.must(err)
	settings := r.settings()
	settings.ACLTokenFile = r.file("one", token)
	one := r.openWith(settings)
	if all, err := one.Elections(t.Context()); !errors.Is(err, lock.ErrDenied) || !strings.Contains(err.Error(), "--name") {
		t.Errorf("elections %q, %v; want ErrDenied and --name", all, err)
	}
	if q, err := one.Locker("e").Queue(t.Context()); err != nil || len(q) != 1 {
		t.Errorf("queue: %+v, %v", q, err)
	}
}
