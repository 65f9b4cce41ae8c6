package bootclock

import "time"

var start = time.Now()

// Now is good enough to build with: leaderrun refuses to run on Windows.
func Now() Instant { return Instant(time.Since(start)) }
