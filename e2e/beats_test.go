//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// instant is a moment of CLOCK_BOOTTIME in nanoseconds, the clock of the beats.
type instant int64

func now() instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return instant(ts.Nano())
}

func (i instant) add(d time.Duration) instant   { return i + instant(d) }
func (i instant) since(o instant) time.Duration { return time.Duration(i - o) }

// A beat is one line of testdata/child: this process lived at that moment.
type beat struct {
	at        instant
	pid       int
	role      string
	token     uint64
	candidate string
}

func parseBeat(line string) (beat, error) {
	f := strings.Fields(line)
	if len(f) != 5 {
		return beat{}, fmt.Errorf("beat %q: want 5 fields", line)
	}
	at, err1 := strconv.ParseInt(f[0], 10, 64)
	pid, err2 := strconv.Atoi(f[1])
	token, err3 := strconv.ParseUint(f[3], 10, 64)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return beat{}, fmt.Errorf("beat %q: %w", line, err)
	}
	return beat{instant(at), pid, f[2], token, f[4]}, nil
}

// A tenure is what the beats tell of one fencing token.
type tenure struct {
	token       uint64
	candidates  []string // one, or the history is broken
	mains       []int    // pids of the main process; one, or the history is broken
	first, last instant
	roles       map[string]instant // role to its last beat
	pause       time.Duration      // the longest that the main process did not beat, living on
}

// A history is the file of beats, read as it grows.
type history struct {
	path    string
	offset  int64
	tenures map[uint64]*tenure
	errs    []error
}

func newHistory(path string) *history {
	return &history{path: path, tenures: map[uint64]*tenure{}}
}

// read takes in what was appended since the last call.
func (h *history) read(t testing.TB) {
	t.Helper()
	f, err := os.Open(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	} else if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, h.offset, math.MaxInt64-h.offset))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	h.offset += int64(len(data))
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if b, err := parseBeat(lines.Text()); err != nil {
			h.errs = append(h.errs, err)
		} else {
			h.add(b)
		}
	}
}

func (h *history) add(b beat) {
	n := h.tenures[b.token]
	if n == nil {
		n = &tenure{token: b.token, first: b.at, last: b.at, roles: map[string]instant{}}
		h.tenures[b.token] = n
	}
	n.first, n.last = min(n.first, b.at), max(n.last, b.at)
	if last := n.roles[b.role]; b.role == "main" && last != 0 {
		n.pause = max(n.pause, b.at.since(last))
	}
	n.roles[b.role] = max(n.roles[b.role], b.at)
	if !slices.Contains(n.candidates, b.candidate) {
		n.candidates = append(n.candidates, b.candidate)
	}
	if b.role == "main" && !slices.Contains(n.mains, b.pid) {
		n.mains = append(n.mains, b.pid)
	}
}

// inOrder returns the tenures by their first beat.
func (h *history) inOrder() []*tenure {
	var all []*tenure
	for _, n := range h.tenures {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *tenure) int { return cmp.Compare(a.first, b.first) })
	return all
}

// check returns every breach of the promise that the beats show, and the
// largest overlap.
func (h *history) check() (worst time.Duration, breaches []error) {
	breaches = h.disorder()
	for _, o := range h.overlaps() {
		worst = max(worst, o.by)
		breaches = append(breaches, o)
	}
	return worst, breaches
}

// disorder returns what is wrong with the tokens.
func (h *history) disorder() []error {
	breaches := slices.Clone(h.errs)
	all := h.inOrder()
	for i, n := range all {
		if len(n.candidates) != 1 || len(n.mains) > 1 {
			breaches = append(breaches, fmt.Errorf("token %d: candidates %v, main processes %v, want one of each",
				n.token, n.candidates, n.mains))
		}
		for _, before := range all[:i] {
			if before.token >= n.token {
				breaches = append(breaches, fmt.Errorf("token %d came after token %d", n.token, before.token))
			}
		}
	}
	return breaches
}

// An overlap is one tenure that had not ended when a later one began.
type overlap struct {
	before, after *tenure
	by            time.Duration
}

func (o overlap) Error() string {
	return fmt.Sprintf("token %d began %v before the last beat of token %d", o.after.token, o.by, o.before.token)
}

func (h *history) overlaps() (found []overlap) {
	all := h.inOrder()
	for i, n := range all {
		for _, before := range all[:i] {
			if by := before.last.since(n.first); by >= 0 {
				found = append(found, overlap{before, n, by})
			}
		}
	}
	return found
}

func (h *history) String() string {
	var b strings.Builder
	all := h.inOrder()
	for _, n := range all {
		fmt.Fprintf(&b, "token %d %v main %v: first beat %v, last", n.token, n.candidates, n.mains,
			n.first.since(all[0].first))
		for role, last := range n.roles {
			fmt.Fprintf(&b, " %s %v", role, last.since(all[0].first))
		}
		fmt.Fprintf(&b, "; longest pause %v\n", n.pause)
	}
	return b.String()
}
