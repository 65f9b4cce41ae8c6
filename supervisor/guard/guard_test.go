//go:build linux

package guard

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"leaderrun/lock/bootclock"
)

// TestMain lets the test binary be the guard and the release command, as
// leaderrun is: both are started as this very program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case GuardCommand:
			fd := func(i int) int { n, _ := strconv.Atoi(os.Args[i]); return n }
			os.Exit(Serve(fd(2), fd(3), fd(4), os.Args[5], os.Args[7:]))
		case SentinelCommand:
			os.Exit(Watch(os.Args[2]))
		case ReleaseCommand: // the ticket names a file to add to
			ticket, _ := io.ReadAll(os.Stdin)
			f, _ := os.OpenFile(string(ticket), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			_, _ = f.WriteString(strings.Join(os.Args[2:], " "))
			os.Exit(0)
		case "hardened":
			os.Exit(hardenedMain())
		case "storm":
			os.Exit(stormMain(os.Args[2], os.Args[3]))
		case "headless":
			headlessMain(os.Args[2])
		case "idle", "check": // run something, and be killed
			os.Exit(leaveMain(os.Args[1], os.Args[2], os.Args[3]))
		case "supervise": // run a tree, and be killed
			os.Exit(superviseMain(os.Args[2], os.Args[3]))
		}
	}
	os.Exit(m.Run())
}

// fixed is a tenure that nobody renews and nobody declares lost, so that only
// the guard can keep the deadline.
type fixed struct {
	until   bootclock.Instant
	renewed chan struct{}
	lost    chan struct{}
}

func (f *fixed) ValidUntil() bootclock.Instant { return f.until }
func (f *fixed) Renewed() <-chan struct{}      { return f.renewed }
func (f *fixed) Lost() <-chan struct{}         { return f.lost }

func lasting(d time.Duration) *fixed {
	return &fixed{bootclock.Now().Add(d), make(chan struct{}, 1), make(chan struct{})}
}

// tree is a shell that ignores TERM, with a child, a child in a session of its
// own and a daemon; each writes its pid into dir and then sleeps for long.
func tree(t *testing.T) (argv []string, pids func() []int) {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf(`cd %s; trap "" TERM
		sh -c 'echo $$ >child; exec sleep 1000' &
		setsid sh -c 'echo $$ >session; exec sleep 1000' &
		(setsid sh -c 'echo $$ >daemon; exec sleep 1000' &)
		echo $$ >main
		while :; do sleep 1000; done`, dir)
	pids = func() []int {
		var found []int
		for _, name := range []string{"main", "child", "session", "daemon"} {
			var pid int
			waitFor(t, "pid of "+name, func() bool {
				b, _ := os.ReadFile(filepath.Join(dir, name))
				pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
				return pid > 0
			})
			found = append(found, pid)
		}
		return found
	}
	return []string{"/bin/sh", "-c", script}, pids
}

func start(t *testing.T, argv []string) *Guard {
	t.Helper()
	g, _ := startSpec(t, Spec{Path: argv[0], Argv: argv})
	return g
}

// startSpec also returns whether the ticket was given back.
func startSpec(t *testing.T, s Spec) (g *Guard, givenBack func() bool) {
	t.Helper()
	g, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Dismiss)
	ticket := filepath.Join(t.TempDir(), "given-back")
	if err := g.Prepare([]byte(ticket)); err != nil {
		t.Fatal(err)
	}
	return g, func() bool { _, err := os.Stat(ticket); return err == nil }
}

func background(ctx context.Context, g *Guard, tenure Tenure) <-chan Result {
	done := make(chan Result, 1)
	go func() { done <- g.Command(Command{}).Run(ctx, tenure, func(int, uint64) {}) }()
	return done
}

func alive(pids []int) (left []int) {
	for _, pid := range pids {
		if p, err := readProcess(pid); err == nil && p.state != 'Z' {
			left = append(left, pid)
		}
	}
	return left
}

func mustBeDead(t *testing.T, pids []int) {
	t.Helper()
	if left := alive(pids); len(left) > 0 {
		t.Errorf("still alive: %v of %v", left, pids)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited 10 s for %s", what)
		case <-tick.C:
		}
	}
}
