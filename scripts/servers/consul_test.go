package servers

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestConsulSurvivesItsLeader(t *testing.T) {
	c := StartConsul(t, ConsulOptions{Nodes: 3})
	if got := len(c.Endpoints()); got != 3 {
		t.Fatalf("%d endpoints", got)
	}
	putConsul(t, c, "before")
	first, err := c.Leader()
	must(t, err)
	must(t, c.Kill(first))
	second, err := c.Leader()
	must(t, err)
	if second == first {
		t.Errorf("server %d leads, which is dead", second)
	}
	must(t, c.Restart(first))
	if got := getConsul(t, c, "before"); got != "before" {
		t.Errorf("the value is %q after the restart", got)
	}

	must(t, c.Pause(second))
	third, err := c.Leader()
	must(t, err)
	if third == second {
		t.Errorf("server %d leads, which is stopped", third)
	}
	must(t, c.Resume(second))
	putConsul(t, c, "after")
}

func TestConsulAgentRestartsInPlace(t *testing.T) {
	c := StartConsul(t, ConsulOptions{Agents: 1})
	putConsul(t, c, "key")
	endpoint := c.AgentEndpoints()[0]
	if c.AgentURL(0) != "consul://"+endpoint+"/leaderrun" || c.URL() != "consul://"+c.Endpoints()[0]+"/leaderrun" {
		t.Errorf("URLs %s and %s", c.AgentURL(0), c.URL())
	}
	must(t, c.KillAgent(0))
	must(t, c.Kill(0))
	must(t, c.Restart(0))
	must(t, c.RestartAgent(0))
	if got := c.AgentEndpoints()[0]; got != endpoint {
		t.Errorf("endpoint %s was %s", got, endpoint)
	}
	if got := getConsul(t, c, "key"); got != "key" {
		t.Errorf("the value is %q after the restart", got)
	}
}

func TestConsulACL(t *testing.T) {
	c := StartConsul(t, ConsulOptions{Nodes: 3, ACL: true, TLS: true, Agents: 1})
	putConsul(t, c, "leaderrun/key")
	accessor, secret, err := c.NewToken(`key_prefix "leaderrun/" { policy = "read" }`)
	must(t, err)
	for name, try := range map[string]struct {
		token, key string
		want       int
	}{
		"no token":      {"", "leaderrun/key", http.StatusForbidden},
		"unknown token": {newUUID(), "leaderrun/key", http.StatusForbidden},
		"token":         {secret, "leaderrun/key", http.StatusOK},
		"other key":     {secret, "elsewhere", http.StatusForbidden},
	} {
		for i, n := range c.nodes { // the client agent last
			if got := tryConsul(t, c, n, try.token, try.key); got != try.want {
				t.Errorf("%s at %d: status %d, not %d", name, i, got, try.want)
			}
		}
	}
	must(t, c.DeleteToken(accessor))
	if got := tryConsul(t, c, c.nodes[0], secret, "leaderrun/key"); got != http.StatusForbidden {
		t.Errorf("a deleted token: status %d", got)
	}
	must(t, c.Kill(0))
	must(t, c.Restart(0))
	putConsul(t, c, "leaderrun/key")
}

func TestConsulMinTTL(t *testing.T) {
	for ttl, want := range map[time.Duration]bool{0: false, time.Second: true} {
		c := StartConsul(t, ConsulOptions{MinTTL: ttl})
		err := c.call(t.Context(), c.nodes[0], "PUT", "/v1/session/create", map[string]any{"TTL": "2s"}, nil)
		if (err == nil) != want {
			t.Errorf("a session of 2 s with a least TTL of %v: %v", ttl, err)
		}
	}
}

func tryConsul(t *testing.T, c *Consul, n *node, token, key string) int {
	t.Helper()
	header := http.Header{"X-Consul-Token": {token}}
	status, _, err := c.http(t.Context(), "GET", n, "/v1/kv/"+key, header, nil)
	must(t, err)
	return status
}

func putConsul(t *testing.T, c *Consul, key string) {
	t.Helper()
	_, err := c.Ctl("kv", "put", key, key)
	must(t, err)
}

func getConsul(t *testing.T, c *Consul, key string) string {
	t.Helper()
	out, err := c.Ctl("kv", "get", key)
	must(t, err)
	return strings.TrimSpace(out)
}
