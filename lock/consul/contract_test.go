package consul

import (
	"testing"

	"leaderrun/lock"
	"leaderrun/lock/contract"
	"leaderrun/scripts/servers"
)

func TestContract(t *testing.T) {
	for name, o := range map[string]servers.ConsulOptions{
		"one":           {},
		"one, secured":  {TLS: true, ACL: true},
		"many":          {Nodes: 3, Agents: 1},
		"many, secured": {Nodes: 3, Agents: 1, TLS: true, ACL: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			contract.Run(t, r.suite(r.settings(append(r.consul.AgentEndpoints(), r.consul.Endpoints()...)...)))
		})
	}
}

func (r *rig) suite(settings lock.Settings) contract.Suite {
	return contract.Suite{
		Open: func(testing.TB) lock.Store {
			s, err := Resolve(settings)
			r.must(err)
			store, err := Open(s)
			r.must(err)
			return store
		},
		TTL: testTTL,
		Faults: map[string]func(testing.TB, string){
			"session destroyed": func(t testing.TB, election string) {
				t.Helper()
				r.destroy(r.get(election, ".lock").Session)
			},
			"lock key deleted": func(t testing.TB, election string) {
				t.Helper()
				r.del(election, ".lock")
			},
		},
		Record: func(t testing.TB, election string) (lock.Record, bool) {
			t.Helper()
			p := r.get(election, "record")
			if p == nil {
				return lock.Record{}, false
			}
			rec, err := lock.DecodeRecord(p.Value)
			r.must(err)
			return rec, true
		},
	}
}
