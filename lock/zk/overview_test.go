package zk

import (
	"slices"
	"testing"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
)

func (r *rig) elections(s *Store, want ...string) {
	r.Helper()
	if all, err := s.Elections(r.Context()); err != nil || !slices.Equal(all, want) {
		r.Errorf("elections %q, %v; want %q", all, err, want)
	}
}

func (r *rig) makes(path, data string, acl []zk.ACL) {
	r.Helper()
	_, err := r.admin.Create(path, []byte(data), 0, acl)
	r.must(err)
}

// Nodes of other programs are no elections, and in no queue; an election that nobody has
// led yet is one if somebody waits for it. Who may read one alone is told to name it.
func TestOverviewBesideOthers(t *testing.T) {
	t.Parallel()
	r := fast(t)
	s := r.open()
	r.elections(s)
	world := zk.WorldACL(zk.PermAll)
	for _, path := range []string{
		"/leaderrun", "/leaderrun/x", "/leaderrun/x/records", "/leaderrun/x/queue", "/leaderrun/x/queue/job-0000000001", "/leaderrun/x/values",
		"/leaderrun/x/values/record", "/leaderrun/%zz", "/leaderrun/%zz/record", "/leaderrun/%65", "/leaderrun/%65/record",
	} {
		r.makes(path, "x", world)
	}
	r.elections(s)
	r.makes("/leaderrun/e", "", world)
	r.makes("/leaderrun/e/queue", "", world)
	for owner, data := range map[string]string{"0123456789abcdef-": "", "0123456789abcdee-": "null", "_c_1-": `{"id":"c"}`, "": "x"} {
		r.makes("/leaderrun/e/queue/"+owner+"lock-0000000000", data, world)
	}
	r.standBy(s, "b")
	r.elections(s, "e")
	if q, err := s.Locker("e").Queue(t.Context()); err != nil || len(q) != 1 || q[0].ID != "b" {
		t.Errorf("queue %+v, %v; want b alone", q, err)
	}

	_, err := r.admin.SetACL("/leaderrun", zk.DigestACL(zk.PermAll, "somebody", "else"), -1)
	r.must(err)
	_, err = s.Elections(t.Context())
	r.tells(err, lock.ErrDenied, "--name", "/leaderrun")
	if q, err := s.Locker("e").Queue(t.Context()); err != nil || len(q) != 1 {
		t.Errorf("queue: %+v, %v", q, err)
	}
}

// A release that has to look again, because an answer was lost, still says who is to
// lead next.
func TestHandOverAgain(t *testing.T) {
	t.Parallel()
	r := fast(t)
	e := r.lead(r.open(), "a").Lease.(*lease)
	to := lock.Handover{To: "b", Hops: 2}
	r.must(e.l.store.giveBack(t.Context(), e.l.store.common, e.l.keys, tenure{owner: e.x.owner, to: &to}))
	if rec := r.record("e"); rec.State != lock.Clean || rec.Handover == nil || *rec.Handover != to {
		t.Errorf("record %+v, want it clean and handed over to %+v", rec, to)
	}
}
