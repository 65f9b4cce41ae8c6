//go:build unix

package file

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"leaderrun/lock"
)

const (
	prompt  = 1500 * time.Millisecond // "at once", on a loaded machine
	patient = 20 * time.Second
)

// TestMain is also the program of the helper processes: real processes with
// real flocks, to be killed and stopped.
func TestMain(m *testing.M) {
	switch os.Getenv("LEADERRUN_TEST_HELPER") {
	case "":
		os.Exit(m.Run())
	case "candidate":
		os.Exit(candidateMain(os.Args[1], os.Args[2], os.Args[3]))
	case "guard":
		os.Exit(guardMain(os.Args[1], os.Args[2]))
	}
}

func candidateMain(url, election, ttl string) int {
	d, err := time.ParseDuration(ttl)
	s := mustOpen(url)
	if err != nil || s == nil {
		return 2
	}
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	c := lock.Candidate{ID: fmt.Sprint("helper/", os.Getpid()), TTL: d, Enqueue: func(t lock.Ticket) error {
		if os.Getenv("LEADERRUN_TEST_GUARD") == "" {
			return nil
		}
		guard := exec.Command(os.Args[0], url, string(t.Data))
		guard.Env = append(os.Environ(), "LEADERRUN_TEST_HELPER=guard")
		guard.ExtraFiles = []*os.File{t.File}
		guard.Stdout = os.Stdout
		return guard.Start()
	}, Notify: func(n lock.Notice) {
		if n.Kind == lock.StandingBy {
			say("standing by", n.Holder.Token)
		}
	}}
	l, err := s.Locker(election).Acquire(context.Background(), c)
	for isReplaced(err) {
		say("again", err)
		l, err = s.Locker(election).Acquire(context.Background(), c)
	}
	if err != nil {
		say("failed", err)
		return 1
	}
	if err := l.(lock.ChildRecorder).RecordChild(os.Getpid(), 7); err != nil {
		say("failed", err)
	}
	say("leading", l.Token())
	select {
	case <-l.Lost():
		say("lost", l.Err())
	case <-stop:
	}
	say("released", l.Release(context.Background()))
	return 0
}

// guardMain holds the descriptor until a SIGUSR1 tells it to give it back.
func guardMain(url, data string) int {
	told := make(chan os.Signal, 1)
	notify(told, syscall.SIGUSR1)
	say("guard", os.Getpid())
	<-told
	err := mustOpen(url).Release(context.Background(), lock.Ticket{Data: []byte(data), File: os.NewFile(3, "lock")})
	say("given back", err)
	return 0
}

// say writes a line for the test.
func say(words ...any) { _, _ = fmt.Fprintln(os.Stdout, words...) }

func mustOpen(url string) lock.Store {
	u, err := lock.ParseURL(url)
	if err == nil {
		var s lock.Store
		if s, err = Open(lock.Settings{URL: u}); err == nil {
			return s
		}
	}
	say("failed", err)
	os.Exit(2)
	return nil
}

// A helper is a candidate in a process of its own.
type helper struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	leads chan lock.Token
	seen  []string
	stdin io.Closer
}

func startHelper(t *testing.T, path, election string, ttl time.Duration, env ...string) *helper {
	t.Helper()
	cmd := exec.Command(os.Args[0], "file://"+path, election, ttl.String())
	cmd.Env = append(append(os.Environ(), "LEADERRUN_TEST_HELPER=candidate"), env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, outW, err := os.Pipe() // not StdoutPipe: a guard that lives on has it open
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = outW, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = outW.Close()
	h := &helper{t: t, cmd: cmd, lines: make(chan string, 100), leads: make(chan lock.Token, 1), stdin: stdin}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if token, ok := strings.CutPrefix(s.Text(), "leading "); ok {
				n, _ := strconv.ParseUint(token, 10, 64)
				h.leads <- lock.Token(n)
			}
			h.lines <- s.Text()
		}
		close(h.lines)
	}()
	t.Cleanup(func() {
		h.kill()
		_ = out.Close()
		if t.Failed() {
			t.Logf("process %d: %q", cmd.Process.Pid, h.seen)
		}
	})
	return h
}

// says waits for a line that begins so, and returns the rest of it.
func (h *helper) says(prefix string, limit time.Duration) string {
	h.t.Helper()
	for end := time.After(limit); ; {
		select {
		case line, ok := <-h.lines:
			if !ok {
				h.t.Fatalf("process ended, without %q; it said %q", prefix, h.seen)
			}
			h.seen = append(h.seen, line)
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return strings.TrimSpace(rest)
			}
		case <-end:
			h.t.Fatalf("after %v without %q; it said %q", limit, prefix, h.seen)
		}
	}
}

// token waits until the process leads.
func (h *helper) token(limit time.Duration) lock.Token {
	h.t.Helper()
	select {
	case token := <-h.leads:
		return token
	case <-time.After(limit):
		h.t.Fatalf("process %d does not lead after %v", h.cmd.Process.Pid, limit)
		return 0
	}
}

// firstToLead waits until one of them leads.
func firstToLead(t *testing.T, helpers []*helper) (*helper, lock.Token) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(patient); ; {
		for _, h := range helpers {
			select {
			case token := <-h.leads:
				return h, token
			default:
			}
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("nobody leads")
		}
	}
}

func (h *helper) signal(sig syscall.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
}

// kill kills and reaps.
func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// acquire campaigns in this process until it leads.
func acquire(t *testing.T, s lock.Store, election string, c lock.Candidate, limit time.Duration) *lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if c.TTL == 0 {
		c.TTL = 5 * time.Second
	}
	for {
		l, err := s.Locker(election).Acquire(ctx, c)
		if err == nil {
			t.Cleanup(func() { _ = l.Release(context.Background()) })
			return l.(*lease)
		}
		if !isReplaced(err) {
			t.Fatalf("acquire: %v", err)
		}
	}
}
