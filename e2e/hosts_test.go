//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// fakedClock is a leaderrun whose wall clock a variable sets. All else, such as the
// lease, goes by real time.
var fakedClock = mutant{
	name: "faked wall clock", file: "supervisor/wall.go",
	changes: [][2]string{
		{`import "time"`, `import ("fmt"; "os"; "time"; "leaderrun/lock/bootclock")`},
		{`{ return time.Now() }`, `{
			var boot, wall, rate int64
			if _, err := fmt.Sscan(os.Getenv("TEST_CLOCK"), &boot, &wall, &rate); err != nil {
				panic(err)
			}
			return time.Unix(0, wall+(int64(bootclock.Now())-boot)*rate)
		}`},
	},
}

// A wallClock showed a time at an instant, and goes rate times as fast as time.
type wallClock struct {
	boot instant
	wall time.Time
	rate int
}

func (c wallClock) variable() string {
	return fmt.Sprintf("TEST_CLOCK=%d %d %d", c.boot, c.wall.UnixNano(), c.rate)
}

// shows returns when the clock shows that time.
func (c wallClock) shows(t time.Time) instant {
	return c.boot.add(t.Sub(c.wall) / time.Duration(c.rate))
}

// hosts makes network namespaces that all reach the first one's Addr.
func hosts(t *testing.T, n int) (all []*servers.Netns) {
	t.Helper()
	for range n {
		h := servers.NewNetns(t)
		if out, err := h.Command("ip", "route", "add", "default", "via", h.Addr()).CombinedOutput(); err != nil {
			t.Fatalf("ip route: %v: %s", err, out)
		}
		all = append(all, h)
	}
	return all
}
