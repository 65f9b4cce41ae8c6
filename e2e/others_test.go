//go:build linux

package e2e

import (
	"errors"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// The store's own program holds a lock at the same place, or another program with
// the best-known recipe does: leaderrun waits, and says for whom; and they wait for
// leaderrun.
func TestOtherRecipes(t *testing.T) {
	for _, c := range []struct {
		kind *kind
		says string
		lock func(e *election) []string // the command line before the command
		// waits: for us. consul lock ends when it finds our key, leads or not.
		waits bool
	}{
		{etcdKind, "etcdctl lock", func(e *election) []string {
			return []string{"etcdctl", "lock", "/leaderrun/" + e.name + "/queue", "--"}
		}, true},
		{consulKind, "consul lock", func(e *election) []string {
			return []string{"consul", "lock", "-shell=false", "leaderrun/" + e.name}
		}, false},
	} {
		t.Run(c.kind.name, func(t *testing.T) {
			e := newElection(t, shared(t, c.kind))
			other := func(id, token string) *candidate {
				argv := append(c.lock(e), e.child()...)
				bin, err := servers.Bin(argv[0])
				must(t, err)
				env := e.store.server.(interface{ CtlEnv() []string }).CtlEnv()
				return e.start(spec{
					id: id, env: append(env, "LEADERRUN_CANDIDATE="+id, "LEADERRUN_FENCING_TOKEN="+token),
					via: func(string, ...string) *exec.Cmd { return exec.Command(bin, argv[1:]...) },
				})
			}
			x := other("x", "1")
			first := e.leads(x, nil)
			a := e.start(spec{id: "a"})
			a.warns(t, c.says)
			e.goesOn(first, time.Second)
			kill(t, unix.SIGTERM, first.mains[0]) // etcdctl passes no signal on
			second := e.leads(a, first)
			e.handedOver(first, second, patient)

			y := other("y", "1000000000000")
			e.goesOn(second, 2*time.Second)
			a.signal(t, unix.SIGTERM)
			if c.waits {
				e.handedOver(second, e.leads(y, second), patient)
			} else {
				y.exits(t, 1, patient)
				a.gone(t, patient)
				other("z", "2000000000000").exits(t, 1, patient) // our key is still there
				e.store.consul(http.MethodDelete, "/v1/kv"+e.consulKey(), nil)
				e.leads(other("z", "2000000000000"), second)
			}
		})
	}
	t.Run("zk", func(t *testing.T) {
		e := newElection(t, shared(t, zkKind))
		e.zkAdmin(func(c *zk.Conn) error {
			queue := e.zkQueue()
			x := zk.NewLock(c, queue, zk.WorldACL(zk.PermAll))
			must(t, x.Lock())
			a := e.start(spec{id: "a"})
			a.warns(t, queue)
			staysTrue(t, "a waits", time.Second, func() bool { return e.of(a) == nil })
			must(t, x.Unlock())
			first := e.leads(a, nil)

			y := zk.NewLock(c, queue, zk.WorldACL(zk.PermAll))
			locked := make(chan error, 1)
			go func() { locked <- y.Lock() }()
			e.goesOn(first, time.Second)
			if len(locked) > 0 {
				t.Errorf("locked while a leads: %v", <-locked)
			}
			a.signal(t, unix.SIGTERM)
			return <-locked
		})
	})
}

// warns waits for a warning with these words.
func (c *candidate) warns(t testing.TB, words string) {
	t.Helper()
	waitFor(t, c.id+" to warn of "+words, patient, func() bool {
		return slices.ContainsFunc(c.complaints(), func(said string) bool { return strings.Contains(said, words) })
	})
}

// Something that nobody will ever take away is at the lock's place: leaderrun says
// so and what to do, and does not lead.
func TestInTheWay(t *testing.T) {
	mine := "mine"
	for _, c := range []struct {
		kind       *kind
		put, clear func(e *election)
		cure       string
		exits      bool // it is not waited for
	}{
		{
			etcdKind,
			func(e *election) { e.store.etcdctl("put", "/leaderrun/"+e.name+"/queue/"+mine, mine) },
			func(e *election) { e.store.etcdctl("del", "/leaderrun/"+e.name+"/queue/"+mine) },
			"etcdctl del", false,
		}, {
			consulKind,
			func(e *election) { e.store.consul(http.MethodPut, "/v1/kv"+e.consulKey(), nil) },
			func(e *election) { e.store.consul(http.MethodDelete, "/v1/kv"+e.consulKey(), nil) },
			"consul kv delete", true,
		}, {
			zkKind,
			func(e *election) {
				e.zkAdmin(func(c *zk.Conn) error {
					for _, path := range []string{"/leaderrun", "/leaderrun/" + e.name, e.zkQueue(), e.zkQueue() + "/" + mine} {
						if _, err := c.Create(path, nil, 0, zk.WorldACL(zk.PermAll)); !errors.Is(err, zk.ErrNodeExists) {
							must(e.t, err)
						}
					}
					return nil
				})
			},
			func(e *election) {
				e.zkAdmin(func(c *zk.Conn) error { return c.Delete(e.zkQueue()+"/"+mine, -1) })
			},
			"delete", false,
		},
	} {
		t.Run(c.kind.name, func(t *testing.T) {
			e := newElection(t, shared(t, c.kind))
			c.put(e)
			a := e.start(spec{id: "a"})
			a.warns(t, c.cure)
			if c.exits {
				a.exits(t, 78, patient)
				c.clear(e)
				e.leads(e.start(spec{id: "b"}), nil)
				return
			}
			staysTrue(t, "a waits", time.Second, func() bool { return e.of(a) == nil && !a.ended() })
			c.clear(e)
			e.leads(a, nil)
		})
	}
}
