// Package stores is the one map from a URL scheme to the store behind it.
package stores

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/consul"
	"leaderrun/lock/etcd"
	"leaderrun/lock/file"
	"leaderrun/lock/zk"
)

type store struct {
	// open checks the settings and does not yet need the store to be up.
	open func(lock.Settings) (lock.Store, error)
	// resolve fills in what the short forms leave out (native variables,
	// defaults), so that the URL says where the candidates really meet.
	resolve func(lock.Settings) (lock.Settings, error)
	// timing of a lease of that store.
	timing func(ttl, grace time.Duration) (lock.Timing, error)
}

var schemes = map[string]store{
	"file":   {file.Open, file.Resolve, lock.NewTiming},
	"etcd":   {etcd.Open, etcd.Resolve, lock.NewTiming},
	"consul": {consul.Open, consul.Resolve, lock.NewTiming},
	"zk":     {zk.Open, zk.Resolve, lock.NewRelayedTiming},
}

// Timing is how the store's leases are renewed. Errors are of kind
// lock.ErrConfig.
func Timing(s lock.Settings, ttl, grace time.Duration) (lock.Timing, error) {
	st, err := find(s)
	if err != nil {
		return lock.Timing{}, err
	}
	return st.timing(ttl, grace)
}

// Resolve completes the settings from the environment and the store's
// defaults. Errors are of kind lock.ErrConfig.
func Resolve(s lock.Settings) (lock.Settings, error) {
	st, err := find(s)
	if err != nil {
		return s, err
	}
	if s, err = st.resolve(s); err != nil {
		return s, err
	}
	return s, s.CheckText()
}

// Open opens the store of resolved settings. Errors are of kind
// lock.ErrConfig; a store that is down is not an error here.
func Open(s lock.Settings) (lock.Store, error) {
	st, err := find(s)
	if err != nil {
		return nil, err
	}
	return st.open(s)
}

func find(s lock.Settings) (store, error) {
	st, ok := schemes[s.URL.Scheme]
	if !ok {
		known := slices.Sorted(maps.Keys(schemes))
		return st, fmt.Errorf("%w: --store: unknown scheme %q: use one of %s", lock.ErrConfig, s.URL.Scheme, strings.Join(known, ", "))
	}
	return st, nil
}
