//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sys/unix"
)

// After many quick elections no session, lease, key or node is left behind but the
// election's own, however the candidates ended: by themselves, told to, killed while
// they led and while they stood by. Sessions of ZooKeeper whose owner was killed
// have to time out, for nobody else knows their passwords: one holds nothing, and
// lasts ten seconds whatever --ttl says.
func TestNothingIsLeft(t *testing.T) {
	const ttl = 3 * time.Second
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		s := own(t, k, serverOptions{})
		e := newElection(t, s)
		for n := range 25 {
			once := e.child("--exit", "0", "--after", "5ms")
			e.start(spec{id: fmt.Sprintf("alone%d", n), command: once}).exits(t, 0, patient)

			a := e.start(spec{id: fmt.Sprintf("a%d", n), ttl: ttl})
			e.leads(a, nil)
			b := e.start(spec{id: fmt.Sprintf("b%d", n), ttl: ttl})
			c := e.start(spec{id: fmt.Sprintf("c%d", n), ttl: ttl})
			b.standsBehind(t, a.id, patient)
			c.standsBehind(t, a.id, patient)
			how := []syscall.Signal{unix.SIGTERM, unix.SIGKILL}
			b.signal(t, how[n%2])
			a.signal(t, how[n/2%2])
			e.leads(c, nil)
			c.signal(t, how[n/4%2])
			for _, ended := range []*candidate{a, b, c} {
				waitFor(t, ended.id+" to end", patient, ended.ended)
			}
		}
		var left []string
		if !poll(max(k.outlives(ttl), k.outlives(10*time.Second))+prompt, func() bool {
			left = k.left(e)
			return len(left) == 0
		}) {
			t.Errorf("%d elections have left behind: %v", 4*25, left)
		}
	})
}

// What is left in a store of one election, with nobody in it.

func etcdLeft(e *election) []string {
	left := fields(e.store.etcdctl("get", "/leaderrun/", "--prefix", "--keys-only"), "/leaderrun/"+e.name+"/record")
	for _, lease := range fields(e.store.etcdctl("lease", "list")) {
		if len(lease) == 16 {
			left = append(left, "lease "+lease)
		}
	}
	return left
}

func consulLeft(e *election) []string {
	var keys []string
	e.store.consul(http.MethodGet, "/v1/kv/leaderrun/?keys", &keys)
	left := fields(strings.Join(keys, "\n"), e.consulKey()[1:], "leaderrun/"+e.name+"/record")
	var sessions []struct{ ID string }
	e.store.consul(http.MethodGet, "/v1/session/list", &sessions)
	for _, s := range sessions {
		left = append(left, "session "+s.ID)
	}
	return left
}

func zkLeft(e *election) []string {
	var left []string
	base := "/leaderrun/" + e.name
	e.zkAdmin(func(c *zk.Conn) error {
		nodes, _, err := c.Children(base)
		left = fields(strings.Join(nodes, "\n"), "record", "queue")
		queue, _, qerr := c.Children(base + "/queue")
		must(e.t, qerr)
		left = append(left, queue...)
		return err
	})
	// The administrator's own session has been ended.
	if sessions := e.store.zkSessions(); sessions != "0" {
		left = append(left, sessions+" sessions")
	}
	return left
}

var zkSessionCount = regexp.MustCompile(`Session Sets \(\d+\)/\((\d+)\)`)

// zkSessions is how many sessions a server that stands alone says it has.
func (s *store) zkSessions() string {
	s.t.Helper()
	conn, err := net.DialTimeout("tcp", s.Endpoints()[0], patient)
	must(s.t, err)
	defer conn.Close()
	must(s.t, conn.SetDeadline(time.Now().Add(patient)))
	_, err = io.WriteString(conn, "dump")
	must(s.t, err)
	dump, err := io.ReadAll(conn)
	must(s.t, err)
	found := zkSessionCount.FindSubmatch(dump)
	if found == nil {
		s.t.Fatalf("no number of sessions in %s", dump)
	}
	return string(found[1])
}

// fields are the words of a text but for those that may be.
func fields(text string, but ...string) []string {
	var left []string
	for _, word := range strings.Fields(text) {
		if !slices.Contains(but, word) {
			left = append(left, word)
		}
	}
	return left
}
