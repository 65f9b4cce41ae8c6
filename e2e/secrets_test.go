//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// replaceFile puts a file in another's place, as whoever rotates secrets does it.
func replaceFile(t testing.TB, path, with string) {
	t.Helper()
	must(t, os.Rename(with, path))
}

// secretNowhere asserts that a secret is in no log, no arguments, no environment
// and not in a guard's memory, of which somebody might find a core.
func (e *election) secretNowhere(secret string) {
	e.t.Helper()
	for _, c := range e.candidates {
		if strings.Contains(readFile(c.log)+readFile(c.out), secret) {
			e.t.Errorf("the secret is in the log of %s", c.id)
		}
		if c.ended() {
			continue
		}
		guard := c.theGuard(e.t)
		// What a guard does know, its arguments among it, shows that the search finds.
		if !inMemory(e.t, guard, "LEADERRUN_") && !inMemory(e.t, guard, leaderrunBin) {
			e.t.Errorf("the search of the memory of guard %d finds nothing", guard)
		}
		if inMemory(e.t, guard, secret) {
			e.t.Errorf("the secret is in the memory of the guard of %s", c.id)
		}
	}
	for _, p := range processes(e.t) {
		place := strings.Join(append(p.args, environOf(p.pid)...), "\x00")
		if strings.Contains(place, secret) && (isLeaderrun(p) || strings.Contains(place, e.dir)) {
			e.t.Errorf("the secret is in the arguments or environment of %d %v", p.pid, p.args)
		}
	}
}

// inMemory searches all that a process has mapped and may read.
func inMemory(t testing.TB, pid int, what string) bool {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	must(t, err)
	defer mem.Close() //nolint:errcheck // only read from
	for line := range strings.Lines(readFile(fmt.Sprintf("/proc/%d/maps", pid))) {
		var from, to uint64
		var may string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &may); err != nil {
			t.Fatalf("map %q: %v", line, err)
		}
		// What the kernel maps there itself cannot be read this way.
		if may[0] != 'r' || strings.Contains(line, "[v") {
			continue
		}
		region, err := io.ReadAll(io.NewSectionReader(mem, int64(from), int64(to-from)))
		if err != nil && !errors.Is(err, os.ErrNotExist) && len(region) == 0 {
			t.Fatalf("read %q: %v", line, err)
		}
		if bytes.Contains(region, []byte(what)) {
			return true
		}
	}
	return false
}
