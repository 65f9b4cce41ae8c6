//go:build linux

package e2e

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// The variables of a fault run: for how long ("1h"), and the seed of its plan.
const (
	chaosEnv     = "LEADERRUN_TEST_CHAOS"
	chaosSeedEnv = "LEADERRUN_TEST_SEED"
)

const (
	places       = 3 // for candidates
	clusterNodes = 3
)

// A chaos throws one fault after the other, at times two at once, at the candidates
// of one election and at its store.
type chaos struct {
	*election
	plan   *plan
	ttl    time.Duration
	places []*place
	trial  trial
	ledger *ledger
	going  []*attack
	over   []*attack // in the order of their ends
	tended instant
	crowd  int // slow clients of each place
	pids   *pidsLimit
	disk   *servers.Disk // of a file store
	done   chan func()   // what slow acts leave to the test's goroutine
}

// Whatever happens, in whatever order, the promise holds. The seed decides what
// happens: a run that failed is run again with it. Only who asks for a length gets
// another one each time: what comes of chance is not for a test of somebody's change.
func TestChaos(t *testing.T) {
	t.Parallel()
	length, seed := 20*time.Second, uint64(1)
	clients := 250 // four stores at once: a thousand
	var err error
	if v := os.Getenv(chaosEnv); v != "" {
		length, err = time.ParseDuration(v)
		must(t, err)
		seed = rand.Uint64()
		clients = 500 // two at once
	}
	if v := os.Getenv(chaosSeedEnv); v != "" {
		seed, err = strconv.ParseUint(v, 10, 64)
		must(t, err)
	}
	found := make(chan string, 20*(1+len(networkKinds)))
	t.Cleanup(func() { // again at the very end, where it is not overlooked
		close(found)
		for breach := range found {
			t.Log(breach)
		}
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		s := fileStore(t)
		must(t, os.MkdirAll(s.dir, 0o755))
		throw(t, s, servers.NewDisk(t, s.dir, 4), 2*time.Second, seed, length, clients, found)
	})
	eachNetworkStore(t, func(n network) {
		n.t.Parallel()
		s := own(n.t, n.kind, serverOptions{nodes: clusterNodes, hosts: true, alert: true, disk: 256})
		ttl := map[*kind]time.Duration{etcdKind: 6 * time.Second, consulKind: 8 * time.Second, zkKind: 12 * time.Second}[n.kind]
		throw(n.t, s, nil, ttl, seed, length, clients, found)
	})
}

// throw throws faults for that long, while so many clients hold on to --listen, and judges
// what came of it. It sends up to 20 breaches.
func throw(t *testing.T, s *store, disk *servers.Disk, ttl time.Duration, seed uint64, length time.Duration, clients int, found chan<- string) {
	t.Helper()
	c := &chaos{
		election: newElection(t, s), plan: newPlan(seed, s), ttl: ttl, ledger: newLedger(), disk: disk,
		crowd: clients / places, pids: newPidsLimit(t), done: make(chan func(), 16),
	}
	c.apart = true
	c.letNobodyBeat()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to see it again: make chaos CHAOS=%v SEED=%d (%s)\n%s", length, seed, s.name, c.timeline())
		}
	})
	for i := range places {
		c.places = append(c.places, c.newPlace(i))
	}
	c.trial = trial{store: s.name, ttl: ttl, outlives: s.outlives(ttl), began: now(), history: c.history}
	holds, guards := watchHolds(c.election), watchGuards(c.election)
	for n := 0; now().since(c.trial.began) < length; n++ {
		c.take(c.plan.step(n))
	}
	c.settle()
	c.trial.ended = now()
	c.trial.holds, c.trial.guards = holds.stop(), guards.stop()
	c.stopAll()
	c.trial.pauses = steady.pauses(c.trial.began)
	c.collect()
	v := judge(&c.trial)
	_, err := io.WriteString(os.Stdout, c.report(v, seed))
	must(t, err)
	for _, breach := range v.breaches[:min(20, len(v.breaches))] {
		t.Error(breach)
		found <- fmt.Sprintf("%s: %v", s.name, breach)
	}
}

// take does what a step of the plan says, once it can be done.
func (c *chaos) take(s step) {
	c.pass(func() bool { return s.kind.mayBeginWith(c.going) })
	if len(c.going) == 0 {
		c.awaitLeader()
	}
	c.begin(s)
	if s.overlaps && s.kind.class != alone {
		c.passFor(time.Duration(s.rest * float64(time.Second)))
		return
	}
	c.pass(func() bool { return len(c.going) == 0 })
	c.passFor(c.ttl/3 + time.Duration(s.rest*float64(c.ttl)/3))
}

// awaitLeader waits as long as it may take: how long it took is the judge's business.
func (c *chaos) awaitLeader() {
	limit := now().add(c.trial.outlives + settling + 2*patient)
	c.pass(func() bool {
		if now() > limit {
			c.t.Fatalf("nobody leads, %v after the beginning", now().since(c.trial.began))
		}
		return c.leader() != nil
	})
}

func (c *chaos) passFor(d time.Duration) {
	end := now().add(d)
	c.pass(func() bool { return now() >= end })
}

// pass goes on with what is under way until cond holds.
func (c *chaos) pass(cond func() bool) {
	poll(time.Hour, func() bool {
		c.proceed()
		c.tend()
		return cond()
	})
}

const tendEvery = 250 * time.Millisecond

// tend does now and then what an operator does: starts candidates where one has
// ended. It also keeps what the candidates write from filling the disk.
func (c *chaos) tend() {
	if now().since(c.tended) < tendEvery {
		return
	}
	c.tended = now()
	c.history.read(c.t)
	c.history.forget(c.t)
	for _, p := range c.places {
		c.ledger.look(c.t, p.candidate)
		p.seeGuard(c.t)
		p.callCrowd()
		if p.ended() {
			c.fill(p)
		}
	}
}

// leader returns the place whose child beats, nil if none does.
func (c *chaos) leader() *place {
	c.history.read(c.t)
	if len(c.history.tenures) == 0 {
		return nil
	}
	n := c.newest()
	if now().since(n.last) > 300*time.Millisecond {
		return nil
	}
	for _, p := range c.places {
		if p.id == n.candidates[0] && !p.ended() {
			return p
		}
	}
	return nil
}

// settle lets everything be well again, and somebody lead.
func (c *chaos) settle() {
	c.pass(func() bool { return len(c.going) == 0 })
	c.awaitLeader()
	c.passFor(c.ttl / 2)
	c.awaitLeader()
}

// collect completes the trial's records.
func (c *chaos) collect() {
	c.history.read(c.t)
	c.trial.faults = c.trial.pauses.stalls()
	for _, a := range c.over {
		c.trial.faults = append(c.trial.faults, a.fault)
	}
	for _, p := range c.places {
		c.trial.faults = append(c.trial.faults, p.stepped...)
	}
	slices.SortStableFunc(c.trial.faults, func(a, b fault) int { return cmp.Compare(a.from, b.from) })
	c.trial.losses = slices.DeleteFunc(c.ledger.settled(c.history), func(l loss) bool { return l.at > c.trial.ended })
	slices.SortFunc(c.trial.losses, func(a, b loss) int { return cmp.Compare(a.at, b.at) })
}
