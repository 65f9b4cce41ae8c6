//go:build !unix

package file

import (
	"fmt"

	"leaderrun/lock"
)

var errSystem = fmt.Errorf("%w: --store: file: does not work on this system: it needs flock(2)", lock.ErrConfig)

// Open refuses.
func Open(lock.Settings) (lock.Store, error) { return nil, errSystem }

// Resolve refuses.
func Resolve(s lock.Settings) (lock.Settings, error) { return s, errSystem }
