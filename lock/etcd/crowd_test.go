package etcd

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// Candidates whose connections end in one moment do not come back in one: neither
// those that lead nor those that stand by. All are back soon, and nobody has lost.
func TestNoStampede(t *testing.T) {
	r := fast(t)
	p := servers.NewProxy(t, r.etcd.Endpoints()[0])
	const elections = 20
	var stores []*Store
	var leaders []lock.Lease
	var waiting sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer waiting.Wait()
	defer cancel()
	for i := range elections {
		e := fmt.Sprint("e", i)
		a, b := r.open(p.Addr()), r.open(p.Addr())
		// A lease so long that no renewal is due.
		c := lock.Candidate{ID: "a", TTL: time.Minute}
		l, err := a.Locker(e).Acquire(t.Context(), c)
		r.must(err)
		leaders = append(leaders, l)
		stores = append(stores, a, b)
		standing := make(chan lock.Notice, 10)
		c.Notify = func(n lock.Notice) { standing <- n }
		waiting.Go(func() { _, _ = b.Locker(e).Acquire(ctx, c) })
		within(t, "a standby", patient, standing)
	}
	before := map[*Store]*conn{}
	for _, s := range stores {
		before[s] = s.pool.Current()
	}
	began := time.Now()
	p.Reset()
	back := map[*Store]time.Duration{}
	eventually(t, "all to come back", patient, func() bool {
		for _, s := range stores {
			if c := s.pool.Current(); c != nil && c != before[s] && back[s] == 0 {
				back[s] = time.Since(began)
			}
		}
		return len(back) == len(stores)
	})
	tenths := make([]int, 200)
	for _, d := range back {
		tenths[d/(100*time.Millisecond)]++
	}
	t.Logf("came back in each tenth of a second: %v", tenths[:12])
	if most := slices.Max(tenths); most > len(stores)/2 {
		t.Errorf("%d of %d came back in the same tenth of a second", most, len(stores))
	}
	cancel()
	waiting.Wait()
	for _, l := range leaders {
		if l.Err() != nil {
			t.Error(l.Err())
		}
		r.must(l.Release(t.Context()))
	}
}
