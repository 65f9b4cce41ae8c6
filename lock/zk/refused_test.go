package zk

import (
	"testing"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

// A holder that may no longer delete its place, or write its record, leaves all the
// same: by the end of its session. Once it may again, the record says so.
func TestPermissionTaken(t *testing.T) {
	t.Parallel()
	for _, node := range []string{"/queue", "/record"} {
		t.Run(node, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, servers.ZooKeeperOptions{User: "admin", Password: "opensesame", Fast: true})
			r.leastPrivileged()
			a := r.lead(r.open(), "a")
			b := r.standBy(r.open(), "b")
			r.permit("/leaderrun/e"+node, zk.PermRead)
			err := a.Lease.Release(t.Context())
			r.tells(err, lock.ErrDenied, "/leaderrun/e"+node+" is missing", "setAcl")
			began := bootclock.Now()
			eventually(t, "the place to go", prompt, func() bool { return len(r.queue("e")) == 1 })
			r.permit("/leaderrun/e"+node, zk.PermAll)
			a.Release()
			b.Wins(prompt)
			t.Logf("leads %v after the refusal", bootclock.Now().Sub(began))
		})
	}
}

// permit says what the user of leastPrivileged may do.
func (r *rig) permit(path string, perms int32) {
	r.Helper()
	_, err := r.admin.SetACL(path, zk.DigestACL(perms, "runner", "sesame"), -1)
	r.must(err)
}

// A quota that is used up is told, not waited for: no renewal meets it.
func TestQuota(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ZooKeeperOptions{Fast: true, Conf: []string{"enforceQuota=true"}})
	s := r.open()
	a := r.lead(s, "a")
	const quota = "/zookeeper/quota/leaderrun"
	for _, node := range []struct{ path, data string }{
		{quota, ""},
		{quota + "/zookeeper_limits", "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3"},
		{quota + "/zookeeper_stats", "count=5,bytes=500"},
	} {
		_, err := r.admin.Create(node.path, []byte(node.data), 0, zk.WorldACL(zk.PermAll))
		r.must(err)
	}
	b := r.start(s, "b")
	within(t, "b to give up", prompt, b.Done)
	r.tells(b.Err, lock.ErrUnavailable, "quota", "setquota")
	a.Survives(2, 2*testTTL)
	a.Release()
}
