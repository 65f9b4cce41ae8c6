package etcd

import (
	"context"
	"sync"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// A member is what came of dialling one address.
type member struct {
	endpoint string
	link     *transport.Link // nil if there is none
	conn     *conn           // nil if it does not serve
	err      error
}

func (s *Store) meet(ctx context.Context) []member {
	ctx, cancel := context.WithTimeout(ctx, max(s.bound, leaveTime))
	defer cancel()
	endpoints := s.dialer.Settings.URL.Hosts
	members := make([]member, len(endpoints))
	var all sync.WaitGroup
	for i, e := range endpoints {
		all.Go(func() {
			m := &members[i]
			m.endpoint = e
			var password string
			if password, m.err = s.dialer.password(); m.err != nil {
				return
			}
			if m.link, m.err = s.dialer.Dial(ctx, e, nil); m.err != nil {
				return
			}
			m.conn, m.err = newConn(ctx, e, s.dialer, m.link, password)
		})
	}
	all.Wait()
	return members
}

// inspectMembers tells of each address, and whether one of them serves.
func (s *Store) inspectMembers(ctx context.Context, tell lock.Tell) bool {
	members := s.meet(ctx)
	var links []*transport.Link
	var serving []*conn
	for _, m := range members {
		if m.link != nil {
			links = append(links, m.link)
		}
		if m.conn != nil {
			defer m.conn.Close(false)
			serving = append(serving, m.conn)
		}
	}
	if ctx.Err() != nil {
		return false
	}
	var refused error
	for _, m := range members {
		switch {
		case final(m.err):
			refused = m.err
			tell.OK("address", "%s answers", m.endpoint)
		case m.err == nil && !m.conn.leader:
			tell.Warn("address", "%s answers, but knows no leader of its cluster", m.endpoint)
		case m.err == nil:
			tell.OK("address", "%s answers", m.endpoint)
		case len(serving) > 0:
			tell.Warn("address", "%v", m.err)
		default:
			tell.Fail("address", m.err)
		}
	}
	var versions []lock.Version
	for _, c := range serving {
		v := lock.Version{At: c.endpoint, Text: "etcd " + c.version}
		if mayRenewStale(c.version) {
			v.Text, v.Warning = staleRenewals(c.version), true
		}
		versions = append(versions, v)
	}
	tell.Versions(versions)
	if len(links) > 0 {
		s.dialer.Inspect(tell, links, s.dialer.Settings.User != "")
	}
	if refused != nil {
		tell.Fail("login", refused)
		return false
	}
	return len(serving) > 0
}
