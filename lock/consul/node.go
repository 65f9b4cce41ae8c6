package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// A session always belongs to a node of the catalog, with or without health
// checks, and ends when that leaves. By default it is the agent's node, and a client
// agent that is told to stop (SIGTERM: leave_on_terminate is its default) leaves:
// with it would go every tenure on this host, for a restart of a second (tried). A
// server's node is no better: one that is down for some ten seconds is taken away by
// Autopilot (cleanup_dead_servers; tried). So leaderrun has a node of its own, with
// no agent, address or service behind it, that nobody takes away but by hand. A token
// for exactly that has the rules
//
//	session "leaderrun" { policy = "write" }
//	node "leaderrun" { policy = "write" }
//
// of which the second is only for the first session, which registers the node.
const sessionNode = "leaderrun"

// nodeRules are what a token needs besides its keys.
const nodeRules = `session "` + sessionNode + `" { policy = "write" } node "` + sessionNode + `" { policy = "write" }`

type madeSession struct {
	id   string
	sent bootclock.Instant
	why  error // unless nil, why it belongs to the agent's node
}

// createOn makes the session, on our own node if that may be.
func (s *Store) createOn(ctx context.Context, l *line, entry *api.SessionEntry) (made madeSession, err error) {
	create := func(node string) {
		entry.Node = node
		made.sent = bootclock.Now()
		made.id, _, err = l.client.Session().CreateNoChecks(entry, l.write(ctx))
	}
	if create(sessionNode); err != nil && strings.Contains(err.Error(), "issing node registration") {
		_, err = l.client.Catalog().Register(&api.CatalogRegistration{
			Node: sessionNode, Address: "127.0.0.1", Datacenter: s.place.datacenter, Partition: s.place.partition,
			NodeMeta: map[string]string{"purpose": "holds the sessions of leaderrun; no agent belongs to it"},
		}, l.write(ctx))
		if err == nil {
			create(sessionNode)
		}
	}
	var answer *answerError
	if !errors.As(err, &answer) || !errors.Is(err, lock.ErrDenied) || answer.passing {
		return made, err
	}
	made.why = answer.Why
	if create(""); errors.Is(err, lock.ErrDenied) {
		err = answer // names what is right
	}
	return made, err
}

// warnNode tells once of a session that ends when the agent leaves.
func (s *Store) warnNode(why error, notify func(lock.Notice)) {
	if why == nil {
		return
	}
	s.warned.Do(func() {
		notify(lock.Notice{Kind: lock.Warning, Err: fmt.Errorf(
			"the session belongs to the node of Consul's agent, and ends when that is told to stop and leaves the cluster: %w", why)})
	})
}
