//go:build linux

// Package e2e proves the promise on the built binary: real leaderrun processes,
// real signals, a real etcd, Consul and ZooKeeper, and a child (testdata/child) that
// tells by a beat each millisecond when which of its processes lived.
//
// Whatever a test does, at its end the history of all beats is checked: the
// trees of two tenures never lived at the same time, fencing tokens rose, and one
// tenure had one child. What a beat cannot show is an overlap shorter than the
// distance between two beats; TestChildBeats bounds that distance.
//
// The tests measure, they do not wait for their luck: "at once" is asserted as
// less than `prompt`, which a loaded machine keeps and which excludes that anyone
// waited for a lease (`longTTL`) or for the two seconds of settling.
package e2e

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

const (
	longTTL = 20 * time.Second        // no test may end by waiting for this one
	prompt  = 1500 * time.Millisecond // "at once", on a loaded machine
	patient = 20 * time.Second        // the limit of a wait whose length is not the matter
)

// The programs under test, built once. leaderrun is static, as it is shipped.
var leaderrunBin, childBin string

// binEnv names another leaderrun to test, such as a mutant: see TestMutants.
const binEnv = "LEADERRUN_TEST_BIN"

func TestMain(m *testing.M) {
	// Under nohup these are ignored, which everything started here would inherit;
	// exec resets what is caught.
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	status, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		status = 1
	}
	os.Exit(status)
}

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "leaderrun-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { // one test runs it as nobody
		return 0, err
	}
	leaderrunBin, childBin = os.Getenv(binEnv), filepath.Join(dir, "child")
	if leaderrunBin == "" {
		leaderrunBin = filepath.Join(dir, "leaderrun")
		err = build(leaderrunBin, "leaderrun")
	}
	if err := cmp.Or(err, build(childBin, "leaderrun/testdata/child")); err != nil {
		return 0, err
	}
	if err := waitTogether(); err != nil {
		return 0, err
	}
	go steady.run()
	status := m.Run()
	return status, errors.Join(stopShared(), removeImage())
}

// build builds a program of this module.
func build(bin, pkg string, flags ...string) error {
	cmd := exec.Command("go", slices.Concat([]string{"build", "-o", bin}, flags, []string{pkg})...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// waitTogether lets more parallel tests run at once than there are processors,
// unless -parallel says how many: they wait for leases most of their time.
func waitTogether() error {
	const flagName = "test.parallel"
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == flagName })
	if given {
		return nil
	}
	return flag.Set(flagName, strconv.Itoa(2*runtime.GOMAXPROCS(0)))
}

// without skips the test for want of something, giving the reason; where
// LEADERRUN_TEST_REQUIRE names it, the test fails instead, as with servers.Require.
func without(t testing.TB, what string, reason error) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv(servers.RequireEnv), ","), what) {
		t.Fatalf("%s names %s, which is not there: %v", servers.RequireEnv, what, reason)
	}
	t.Skipf("no %s: %v", what, reason)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor polls until cond holds. It is the only thing here that passes time.
func waitFor(t testing.TB, what string, limit time.Duration, cond func() bool) {
	t.Helper()
	if !poll(limit, cond) {
		t.Fatalf("after %v still waiting for %s", limit, what)
	}
}

// staysTrue fails as soon as cond does not hold, and returns after d.
func staysTrue(t testing.TB, what string, d time.Duration, cond func() bool) {
	t.Helper()
	start := now()
	if poll(d, func() bool { return !cond() }) {
		t.Fatalf("after %v no longer true: %s", now().since(start), what)
	}
}

// pass lets d go by, as a fault that lasts.
func pass(d time.Duration) { poll(d, func() bool { return false }) }

func poll(limit time.Duration, cond func() bool) bool {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.After(limit); ; {
		if cond() {
			return true
		}
		select {
		case <-ticker.C:
		case <-end:
			return cond()
		}
	}
}
