package etcd

import (
	"fmt"

	"leaderrun/lock"
)

// warnVersion tells once of a server that may renew a lease which the cluster
// has expired. The fix is etcd pull request 16822, in 3.5.13 (17425) and 3.4.31
// (17465).
func (s *Store) warnVersion(notify func(lock.Notice)) {
	c := s.pool.Current()
	if c == nil || !mayRenewStale(c.version) {
		return
	}
	s.warned.Do(func() {
		notify(lock.Notice{Kind: lock.Warning, Err: fmt.Errorf("%s (at %s)", staleRenewals(c.version), c.endpoint)})
	})
}

func staleRenewals(version string) string {
	return "etcd " + version + " may renew a lease that has expired elsewhere after a change of etcd's leader (etcd-io/etcd#15247), and two candidates could lead: use at least 3.5.13 or 3.4.31"
}

func mayRenewStale(version string) bool {
	var major, minor, patch int
	if n, _ := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); n < 3 {
		return false // a development build, or something newer than all we know
	}
	switch {
	case major != 3:
		return major < 3
	case minor == 4:
		return patch < 31
	case minor == 5:
		return patch < 13
	}
	return minor < 4
}
