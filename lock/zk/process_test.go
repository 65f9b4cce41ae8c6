package zk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// holdEnv is the endpoint and the TTL, in a process of its own that holds the lease.
const holdEnv = "LEADERRUN_TEST_HOLD"

// TestHolderProcess is that process: it holds the lease of election "e" until it is
// lost, says so, and gives it back when it is told.
func TestHolderProcess(t *testing.T) {
	endpoint, ttlText, ok := strings.Cut(os.Getenv(holdEnv), " ")
	if !ok {
		t.Skip("only for other tests")
	}
	ttl, err := time.ParseDuration(ttlText)
	if err != nil {
		t.Fatal(err)
	}
	timing, err := lock.NewRelayedTiming(ttl, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(lock.Settings{
		URL:            lock.URL{Scheme: "zk", Hosts: []string{endpoint}, Path: defaultPrefix},
		DefaultTimeout: timing,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // never fails
	l, err := s.Locker("e").Acquire(t.Context(), lock.Candidate{ID: "process", TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	say := func(word string) { _, _ = fmt.Fprintf(os.Stdout, "holder: %s %d\n", word, l.ValidUntil()) }
	say("leads")
	for l.Err() == nil {
		select {
		case <-l.Renewed():
			say("renewed")
		case <-l.Lost():
		}
	}
	late := -l.ValidUntil().Until()
	if late < 0 || !errors.Is(l.Err(), lock.ErrExpired) {
		t.Errorf("lost %v after the deadline: %v", late, l.Err())
	}
	say("lost")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	say("released")
}

// A holder is such a process.
type holder struct {
	*rig
	cmd   *exec.Cmd
	until bootclock.Instant // as it said last
	words chan string
	stdin io.Closer
}

// hold starts one; command makes the process.
func (r *rig) hold(command func(string, ...string) *exec.Cmd, endpoint string, ttl time.Duration) *holder {
	r.Helper()
	h := &holder{rig: r, cmd: command(os.Args[0], "-test.run=^TestHolderProcess$", "-test.v"), words: make(chan string, 100)}
	h.cmd.Env = append(os.Environ(), holdEnv+"="+endpoint+" "+ttl.String())
	out, err := h.cmd.StdoutPipe()
	r.must(err)
	in, err := h.cmd.StdinPipe()
	r.must(err)
	r.must(h.cmd.Start())
	h.stdin = in
	go func() {
		defer close(h.words)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if w, ok := strings.CutPrefix(sc.Text(), "holder: "); ok {
				h.words <- w
			}
		}
	}()
	r.Cleanup(func() {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait()
	})
	return h
}

// note takes what the holder says.
func (h *holder) note(words string) (word string) {
	word, until, _ := strings.Cut(words, " ")
	at, _ := strconv.ParseInt(until, 10, 64)
	h.until = bootclock.Instant(at)
	return word
}

// told reads up to a word, n times.
func (h *holder) told(word string, n int) {
	h.Helper()
	for n > 0 {
		switch got := h.note(within(h.T, word, patient, h.words)); got {
		case word:
			n--
		case "", "lost":
			h.Fatalf("holder: %q, want %s", got, word)
		}
	}
}

// release tells the holder that lost its lease to give it back.
func (h *holder) release() {
	h.Helper()
	h.must(h.stdin.Close())
	h.told("released", 1)
}
