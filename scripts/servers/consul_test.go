package servers

import (
	"strings"
	"testing"
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
