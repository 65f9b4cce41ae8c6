package consul

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"

	"leaderrun/lock"
)

// A session always belongs to a node of the catalog, with or without health
// checks, and ends when that leaves. By default that is the agent's node, and a
// client agent that is told to stop (SIGTERM: leave_on_terminate) leaves: with it
// would go every tenure on this host, for an agent's restart of a second. In
// another datacenter the agent's node does not even exist. The servers' nodes leave
// only when a server is taken away for good, so a session is tied to one of those
// where the token may find out which they are:
//
//	service "consul" { policy = "read" }
//	node_prefix "" { policy = "read" }

// serverNode returns a server's node that is alive, or "" if the token may not see one.
func (s *Store) serverNode(ctx context.Context, l *line) (string, error) {
	// Servers are in the default partition, and a session in that of its node.
	if s.place.partition != "" && s.place.partition != "default" {
		return "", nil
	}
	servers, _, err := l.client.Health().Service("consul", "", true, l.query(ctx))
	var answer *answerError
	switch {
	case errors.As(err, &answer) && errors.Is(answer.Kind, lock.ErrDenied):
		return "", nil
	case err != nil:
		return "", err
	case len(servers) == 0:
		return "", nil
	}
	return servers[rand.IntN(len(servers))].Node.Node, nil
}

// mayBeAboutNode tells whether another node might do: the token may make sessions
// on some nodes only, and a node that was there a moment ago may have gone.
func mayBeAboutNode(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) &&
		(errors.Is(answer.Kind, lock.ErrDenied) || strings.Contains(answer.Error(), "node"))
}
