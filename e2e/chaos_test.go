//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// chaosEnv is the variable that makes TestChaos run for longer: "10m".
const chaosEnv = "LEADERRUN_TEST_CHAOS"

// A chaos throws one fault after the other at three candidates, each of which
// keeps to what is promised: never supervisor and guard of one candidate
// together, never a lock taken from somebody frozen or cut off.
type chaos struct {
	*election
	r       *rand.Rand
	ttl     time.Duration
	proxies []*servers.Proxy // of the store, one per place
	places  []*candidate     // who runs there now
	started int
}

// Whatever happens, in whatever order: no overlap, rising tokens, and at the end
// somebody leads.
func TestChaos(t *testing.T) {
	t.Parallel()
	length := 12 * time.Second
	if v := os.Getenv(chaosEnv); v != "" {
		var err error
		length, err = time.ParseDuration(v)
		must(t, err)
	}
	t.Run("file", func(t *testing.T) { throw(t, fileStore(t), length) })
	eachNetworkStore(t, func(n network) { throw(n.t, own(n.t, n.kind, serverOptions{}), length) })
}

// throw throws faults for that long.
func throw(t *testing.T, s *store, length time.Duration) {
	t.Helper()
	c := &chaos{election: newElection(t, s), ttl: max(2*time.Second, s.shortest)}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c.r = rand.New(rand.NewPCG(seed, 0))
	for i := range 3 {
		if !s.isFile() {
			c.proxies = append(c.proxies, servers.NewProxy(t, s.Endpoints()[0]))
		}
		c.places = append(c.places, nil)
		c.fill(i)
	}
	begin := now()
	for now().since(begin) < length {
		c.fault()
		pass(300*time.Millisecond + c.upTo(700*time.Millisecond))
	}
	last := now()
	c.history.read(t)
	t.Logf("%d tenures", len(c.history.tenures))
	waitFor(t, "somebody to lead in the end", patient, func() bool {
		c.history.read(t)
		for _, n := range c.history.tenures {
			if n.last > last.add(time.Second) {
				return true
			}
		}
		return false
	})
}

func (c *chaos) upTo(d time.Duration) time.Duration { return time.Duration(c.r.Int64N(int64(d))) }

// fill starts a candidate at a place.
func (c *chaos) fill(place int) {
	c.started++
	s := spec{
		id: fmt.Sprintf("p%d-%d", place, c.started), ttl: c.ttl, command: c.wild(),
		flags: []string{"--stop-timeout", "300ms"},
	}
	if len(c.proxies) > 0 {
		s.store = c.store.at(c.proxies[place].Addr())
	}
	c.places[place] = c.start(s)
}

// fault picks a candidate and does something to it, for some time.
func (c *chaos) fault() {
	place := c.r.IntN(len(c.places))
	victim := c.places[place]
	if n := c.r.IntN(3); n > 0 { // the leader is worth more
		for i, other := range c.places {
			if t := c.of(other); t != nil && c.beating(t) {
				place, victim = i, other
			}
		}
	}
	kinds := 7
	if len(c.proxies) > 0 {
		kinds = 9
	}
	switch kind := c.r.IntN(kinds); kind {
	case 0, 1:
		c.replace(place, []syscall.Signal{unix.SIGKILL, unix.SIGTERM}[kind])
	case 2:
		kill(c.t, unix.SIGKILL, victim.theGuard(c.t))
	case 3, 4:
		pid := victim.pid
		if kind == 4 {
			pid = victim.theGuard(c.t)
		}
		c.t.Logf("freeze %s pid %d (supervisor %d)", victim.id, pid, victim.pid)
		freeze(c.t, pid)
		pass(c.upTo(3 * c.ttl / 2))
		kill(c.t, unix.SIGCONT, pid)
	case 5, 6:
		c.take()
	case 7:
		c.proxies[place].Hold()
		pass(c.upTo(3 * c.ttl / 2))
		c.proxies[place].Resume()
	case 8:
		must(c.t, c.store.Kill(0))
		pass(c.upTo(c.ttl))
		must(c.t, c.store.Restart(0))
	}
}

// replace ends a supervisor and starts another candidate in its place.
func (c *chaos) replace(place int, s syscall.Signal) {
	victim := c.places[place]
	victim.theGuard(c.t)
	victim.signal(c.t, s)
	waitFor(c.t, victim.id+" to end", patient, victim.ended)
	c.fill(place)
}

// take takes the lock away from whoever has it, if somebody does.
func (c *chaos) take() {
	for _, candidate := range c.places {
		if n := c.of(candidate); n != nil && c.beating(n) {
			c.store.breakages[c.r.IntN(2)].do(c.election)
			return
		}
	}
}
