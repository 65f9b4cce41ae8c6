// Package servers installs, starts and breaks the real servers that leaderrun's
// tests, its demo and its benchmark run against, and makes the networks to cut
// them off with.
//
// What it starts it ends by process id, never by name, and what a test started
// dies with the test, even with one that is SIGKILLed (on Linux). What it
// cannot undo after a SIGKILL (network namespaces, directories under the
// temporary directory) the next run removes or the system does.
//
// It is no part of leaderrun and promises nothing to a production system:
// certificates are made on the fly, peers talk in clear text.
package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// RequireEnv names the variable that turns a skip into a failure: a comma list
// of what must be there. CI sets it, so that a test that silently never runs is
// noticed.
const RequireEnv = "LEADERRUN_TEST_REQUIRE"

// needs says for each name that Require knows how to find out whether it is
// there. Each is asked once per process.
var needs = map[string]func() error{
	"file": func() error { return nil },
	"etcd": sync.OnceValue(func() error { return installWithin(10*time.Minute, "etcd") }),
	// Alone on two processors it takes four minutes, unless Go's build cache has it.
	"consul":    sync.OnceValue(func() error { return installWithin(20*time.Minute, "consul") }),
	"zookeeper": sync.OnceValue(findZooKeeper),
	"netns":     sync.OnceValue(probeNetns),
}

// Require skips the test, giving the reason, where `what` is not to be had on
// this machine. Where LEADERRUN_TEST_REQUIRE names it, the test fails instead.
func Require(t testing.TB, what string) {
	t.Helper()
	probe, ok := needs[what]
	if !ok {
		t.Fatalf("servers.Require: %q is unknown", what)
	}
	err := probe()
	switch {
	case err == nil:
	case required(os.Getenv(RequireEnv), what):
		t.Fatalf("%s names %s, which is not there: %v", RequireEnv, what, err)
	default:
		t.Skipf("no %s: %v", what, err)
	}
}

func required(list, what string) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(s string) bool {
		return strings.TrimSpace(s) == what
	})
}

func installWithin(d time.Duration, what string) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return Install(ctx, what)
}

// Root returns the top directory of the checkout. Tests run in the directory of
// their package, so it is looked for from there upwards.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if isRoot(filepath.Join(dir, "go.mod")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the checkout: no go.mod of module leaderrun above %s", start)
		}
	}
}

func isRoot(gomod string) bool {
	data, err := os.ReadFile(gomod)
	if err != nil {
		return false
	}
	// The servers' own modules lie below; their names only begin alike.
	return slices.Contains(strings.Split(string(data), "\n"), "module leaderrun")
}

// Bin returns the path of an installed program, "etcdctl" for example.
func Bin(name string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".cache", "bin", name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s is not installed: make install-tools", name)
	} else if err != nil {
		return "", err
	}
	return path, nil
}
