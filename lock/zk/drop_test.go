package zk

import (
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/scripts/servers"
)

// Lost packets are worse than a silent server: TCP waits longer and longer
// before it sends again, on old connections and new ones.
func TestDroppedPackets(t *testing.T) {
	t.Parallel()
	n := servers.NewNetns(t)
	r := newRig(t, servers.ZooKeeperOptions{Host: n.Addr(), Fast: true})
	const ttl = 6 * time.Second
	h := r.hold(n.Command, r.zoo.Endpoints()[0], ttl)
	h.told("renewed", 1)
	for _, offset := range []time.Duration{0, 500 * time.Millisecond, 1200 * time.Millisecond} {
		<-time.After(offset)
		r.must(n.Drop())
		<-time.After(ttl / 3)
		r.must(n.Heal())
		began := bootclock.Now()
		h.told("renewed", 1)
		t.Logf("renewed %v after the outage", bootclock.Now().Sub(began))
		h.told("renewed", 2)
	}
	b := r.standBy(r.open(), "b")
	r.must(n.Drop())
	for {
		if w := within(t, "the loss", patient, h.words); h.note(w) == "lost" {
			break
		}
	}
	if late := -h.until.Until(); late < 0 || late > 200*time.Millisecond {
		t.Errorf("lost %v after the deadline", late)
	}
	b.Waits(0)
	b.Wins(ttl + lock.SettleTime)
	r.must(n.Heal())
	h.release()
	if got, err := r.open().Locker("e").Holder(t.Context()); err != nil || got.ID != "b" {
		t.Errorf("holder: %+v, %v", got, err)
	}
}
