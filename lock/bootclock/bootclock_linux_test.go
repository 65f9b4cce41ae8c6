package bootclock

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The clock is the one of /proc/uptime, which counts suspend and is the same
// for every process.
func TestIsUptime(t *testing.T) {
	before := Now()
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	uptime := Instant(seconds * 1e9)
	if uptime < before.Add(-20*time.Millisecond) || uptime > Now() {
		t.Errorf("uptime is %d, the clock says %d", uptime, before)
	}
}
