//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A checker that cannot fail proves nothing: it is shown broken histories.
func TestCheckerSeesBreaches(t *testing.T) {
	const ms = 1_000_000
	two := func(firstOfSecond int64) string {
		return fmt.Sprintf("%d 10 main 7 a\n%d 10 main 7 a\n%d 20 main 9 b\n%d 20 main 9 b\n",
			100*ms, 200*ms, firstOfSecond, 300*ms)
	}
	for name, c := range map[string]struct {
		beats   string
		overlap time.Duration
		breach  string
	}{
		"clean":               {beats: two(201 * ms)},
		"one tenure":          {beats: "100 10 main 7 a\n200 11 daemon 7 a\n"},
		"one millisecond":     {two(199 * ms), time.Millisecond, "began 1ms before"},
		"the same nanosecond": {two(200 * ms), 0, "began 0s before"},
		"inside":              {two(101 * ms), 99 * time.Millisecond, "before the last beat"},
		"a daemon lived on":   {two(201*ms) + fmt.Sprintf("%d 12 daemon 7 a\n", 250*ms), 49 * time.Millisecond, "before the last beat"},
		"not the neighbour":   {two(201*ms) + fmt.Sprintf("%d 30 main 11 c\n%d 12 fork 7 a\n", 400*ms, 401*ms), 200 * time.Millisecond, "token 11 began 1ms before the last beat of token 7"},
		"the token fell":      {beats: "100 10 main 9 a\n200 20 main 7 b\n", breach: "token 7 came after token 9"},
		"one token for two":   {beats: "100 10 main 7 a\n200 20 main 7 b\n", breach: "candidates [a b]"},
		"two children":        {beats: "100 10 main 7 a\n200 20 main 7 a\n", breach: "main processes [10 20]"},
		"no token":            {beats: "100 10 main - a\n", breach: "invalid syntax"},
		"garbled":             {beats: "100 10 main\n", breach: "want 5 fields"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(filepath.Join(t.TempDir(), "beats"))
			if err := os.WriteFile(h.path, []byte(c.beats), 0o600); err != nil {
				t.Fatal(err)
			}
			h.read(t)
			overlap, breaches := h.check()
			if overlap != c.overlap {
				t.Errorf("overlap %v, want %v", overlap, c.overlap)
			}
			if got := fmt.Sprint(breaches); (c.breach == "") != (len(breaches) == 0) || !strings.Contains(got, c.breach) {
				t.Errorf("breaches %v, want %q", breaches, c.breach)
			}
		})
	}
}

// An unfinished line is left for the next reading.
func TestHistoryReadsWholeLines(t *testing.T) {
	h := newHistory(filepath.Join(t.TempDir(), "beats"))
	for _, part := range []string{"100 10 main 7 a\n200 10 ma", "in 7 a\n"} {
		f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(part)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		h.read(t)
	}
	if n := h.tenures[7]; len(h.errs) != 0 || n == nil || n.first != 100 || n.last != 200 {
		t.Errorf("errors %v, tenures %v", h.errs, h)
	}
}

// The beats are close enough to each other to see an overlap of milliseconds,
// in all three processes of the tree.
func TestChildBeats(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "beats")
	cmd := exec.Command(childBin, "--beats", path, "--fork", "--daemon", "--life", "1s")
	cmd.Env = append(os.Environ(), "LEADERRUN_FENCING_TOKEN=7", "LEADERRUN_CANDIDATE=a")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	waitFor(t, "the end of the fork and the daemon", patient, func() bool { return len(treeOf(t, dir)) == 0 })
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last, count, gaps := map[string]instant{}, map[string]int{}, map[string]int{}
	for line := range strings.Lines(string(data)) {
		b, err := parseBeat(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if count[b.role]++; last[b.role] != 0 && b.at.since(last[b.role]) > 2*time.Millisecond {
			gaps[b.role]++
		}
		last[b.role] = b.at
	}
	for _, role := range []string{"main", "fork", "daemon"} {
		if count[role] < 500 || gaps[role] > count[role]/20 {
			t.Errorf("%s: %d beats in a second, %d of them more than 2 ms after the last", role, count[role], gaps[role])
		}
	}
}
