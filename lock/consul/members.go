package consul

import (
	"context"
	"fmt"
	"sync"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// An agent is what came of dialling one address.
type agent struct {
	endpoint string
	line     *line // nil if it does not serve
	version  string
	err      error
}

func (s *Store) meet(ctx context.Context) []agent {
	ctx, cancel := context.WithTimeout(ctx, max(s.bound, leaveTime))
	defer cancel()
	agents := make([]agent, len(s.dialer.endpoints))
	var all sync.WaitGroup
	for i, e := range s.dialer.endpoints {
		all.Go(func() {
			a := &agents[i]
			a.endpoint = e
			if a.line, a.err = s.dialer.open(ctx, e, nil); a.err == nil {
				a.version = a.line.version(ctx)
			}
		})
	}
	all.Wait()
	return agents
}

// version of the agent, "" if that is not told: for this address no token is
// needed, but Consul has not always had it.
func (l *line) version(ctx context.Context) string {
	var told struct{ HumanVersion string }
	if _, err := l.client.Raw().Query("/v1/agent/version", &told, l.query(ctx)); err == nil {
		return told.HumanVersion
	}
	var self struct{ Config struct{ Version string } }
	if _, err := l.client.Raw().Query("/v1/agent/self", &self, l.query(ctx)); err != nil {
		return ""
	}
	return self.Config.Version
}

// links are the connections of now.
func (l *line) links() []*transport.Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []*transport.Link
	for c := range l.conns {
		list = append(list, c.link)
	}
	return list
}

// inspectAgents tells of each address, and whether one of them serves.
func (s *Store) inspectAgents(ctx context.Context, tell lock.Tell) bool {
	agents := s.meet(ctx)
	var links []*transport.Link
	serving := false
	for _, a := range agents {
		if a.line != nil {
			defer a.line.Close(false)
			if l := a.line.links(); len(l) > 0 {
				links = append(links, l[0])
			}
			serving = true
		}
	}
	if ctx.Err() != nil {
		return false
	}
	for _, a := range agents {
		switch {
		case a.err == nil && !a.line.leader:
			tell.Warn("address", "%s answers, but knows no leader of its cluster", a.endpoint)
		case a.err == nil:
			tell.OK("address", "%s answers", a.endpoint)
		case serving:
			tell.Warn("address", "%v", a.err)
		default:
			tell.Fail("address", a.err)
		}
	}
	var versions []lock.Version
	for _, a := range agents {
		v := lock.Version{At: a.endpoint, Text: "Consul " + a.version}
		switch {
		case a.line == nil:
			continue
		case a.version == "":
			v.Text = "not told: use Consul 1.14 or newer on every server"
		case lacksVerb(a.version):
			v.Text, v.Warning = "Consul "+a.version+" has not all that leaderrun asks for in transactions (get-or-empty, hashicorp/consul#14474): use 1.14 or newer on every server", true
		}
		versions = append(versions, v)
	}
	tell.Versions(versions)
	if serving {
		s.dialer.Inspect(tell, links, s.dialer.tokenSource() != "" || s.dialer.Settings.User != "")
	}
	return serving
}

// lacksVerb tells of versions before 1.14.0, which cannot read as we do. What we
// write needs nothing so new: servers of which some are older would lose that
// without a word up to 1.19.0 (hashicorp/consul#21519).
func lacksVerb(version string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n < 2 {
		return false
	}
	return major < 1 || major == 1 && minor < 14
}
