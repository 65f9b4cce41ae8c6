//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// putRecord puts something in the place of the election's record, and says what an
// error must name.
func (e *election) putRecord(value string) (named string) {
	e.t.Helper()
	key := "/leaderrun/" + e.name + "/record"
	switch e.store.kind {
	case fileKind:
		file := filepath.Join(e.store.dir, e.name+".d", "99.json")
		must(e.t, os.WriteFile(file, []byte(value), 0o600))
		return file
	case etcdKind:
		e.store.etcdctl("put", key, value)
	case consulKind:
		_, err := e.store.server.(*servers.Consul).Ctl("kv", "put", key[1:], value)
		must(e.t, err)
		return key[1:]
	case zkKind:
		e.zkAdmin(func(c *zk.Conn) error { _, err := c.Set(key, []byte(value), -1); return err })
	}
	return key
}

// A record that nobody understands never counts as that of nobody: whoever would
// lead ends with 78 and names it. It takes nothing from who leads, on a network.
func TestForeignRecord(t *testing.T) {
	eachStore(t, func(s *store) {
		for what, value := range map[string]string{
			"held by nobody": `{"token":1,"state":"held","ttl":2000000000,"owner":""}`,
			"of later times": `{"token":1,"state":"waning","owner":"x"}`,
			"no record":      `{}`,
		} {
			s.t.Run(what, func(t *testing.T) {
				e := newElection(t, s.in(t))
				a := e.start(spec{id: "a"})
				n := e.leads(a, nil)
				b := e.start(spec{id: "b"})
				b.standsBehind(t, "a", patient)
				named := e.putRecord(value)
				e.goesOn(n, time.Second)
				if !s.isFile() {
					b.exits(t, 78, patient)
				}
				a.signal(t, unix.SIGTERM)
				waitFor(t, "a to end", patient, a.ended)
				b.exits(t, 78, patient)
				c := e.start(spec{id: "c"})
				c.exits(t, 78, patient)
				for _, refused := range []*candidate{b, c} {
					if said := strings.Join(refused.complaints(), "\n"); !strings.Contains(said, named) {
						t.Errorf("%s does not name %s:\n%s", refused.id, named, said)
					}
					if e.of(refused) != nil {
						t.Errorf("%s had a child", refused.id)
					}
				}
			})
		}
	})
}
