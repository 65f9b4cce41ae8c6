//go:build !linux

package guard

import "time"

// Left is not known here.
func Left() (left time.Duration, ok bool) { return 0, false }
