package etcd

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

func (r *rig) elections(s *Store, want ...string) {
	r.Helper()
	if all, err := s.Elections(r.Context()); err != nil || !slices.Equal(all, want) {
		r.Errorf("elections %q, %v; want %q", all, err, want)
	}
}

// Keys of other programs are no elections, and in no queue; an election that nobody has
// led yet is one if somebody waits for it.
func TestOverviewBesideOthers(t *testing.T) {
	r := fast(t)
	s := r.open()
	r.elections(s)
	for _, key := range []string{
		"/leaderrun", "/leaderrun/", "/leaderrun/x", "/leaderrun//record", "/leaderrun/x/records", "/leaderrun/x/values/record",
		"/leaderrun/x/queue/", "/leaderrun/x/queue/job", "/leaderrun/x/queue/record", "/leaderrun2/y/record", "/leaderrun0/record",
	} {
		r.ctl("put", key, "x")
	}
	r.elections(s)
	for key, value := range map[string]string{"a": "", "b": "x", "c": "null", "d": "{}"} {
		r.ctl("put", "/leaderrun/e/queue/"+key, value)
	}
	r.standBy(s, "b")
	r.elections(s, "e")
	if q, err := s.Locker("e").Queue(t.Context()); err != nil || len(q) != 1 || q[0].ID != "b" {
		t.Errorf("queue %+v, %v; want b alone", q, err)
	}
}

// Who may read one election alone is told to name it.
func TestElectionsForbidden(t *testing.T) {
	r := newRig(t, servers.EtcdOptions{User: "admin", Password: "opensesame", Fast: true})
	r.ctl("role", "add", "one")
	r.ctl("role", "grant-permission", "--prefix=true", "one", "readwrite", "/leaderrun/e/")
	r.ctl("user", "add", "guest:sesame")
	r.ctl("user", "grant-role", "guest", "one")
	settings := r.settings()
	settings.User, settings.PasswordFile = "guest", filepath.Join(t.TempDir(), "password")
	r.must(os.WriteFile(settings.PasswordFile, []byte("sesame"), 0o600))
	s := r.openWith(settings)
	if all, err := s.Elections(t.Context()); !errors.Is(err, lock.ErrDenied) || !strings.Contains(err.Error(), "--name") {
		t.Errorf("elections %q, %v; want ErrDenied and --name", all, err)
	}
	if q, err := s.Locker("e").Queue(t.Context()); err != nil || q != nil {
		t.Errorf("queue: %+v, %v", q, err)
	}
}
