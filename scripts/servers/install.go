package servers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A tool is one program of a server's module.
type tool struct{ name, pkg string }

// tools are what Install builds, by store. The module that pins their versions
// is the directory of the store's name beside this file.
var tools = map[string][]tool{
	"consul": {{"consul", "github.com/hashicorp/consul"}},
	"etcd": {
		{"etcd", "go.etcd.io/etcd/server/v3"},
		{"etcdctl", "go.etcd.io/etcd/etcdctl/v3"},
	},
}

// Install builds a store's programs into .cache/bin, unless those of the pinned
// version are there. Any number of processes may call it at once. ZooKeeper it only
// looks for: its package and Java's are scripts/packages' to install.
func Install(ctx context.Context, store string) error {
	if store == "zookeeper" {
		return findZooKeeper()
	}
	list, ok := tools[store]
	if !ok {
		return fmt.Errorf("install %s: unknown server", store)
	}
	root, err := Root()
	if err != nil {
		return err
	}
	module := filepath.Join(root, "scripts", "servers", store)
	version, err := moduleVersion(module)
	if err != nil {
		return fmt.Errorf("install %s: %w", store, err)
	}
	bin := filepath.Join(root, ".cache", "bin")
	if installed(bin, store, version, list) {
		return nil
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	unlock, err := lockFile(ctx, filepath.Join(root, ".cache", "install-"+store+".lock"))
	if err != nil {
		return fmt.Errorf("install %s: wait for another installation: %w", store, err)
	}
	defer unlock()
	if installed(bin, store, version, list) { // by whoever held the lock
		return nil
	}
	for _, t := range list {
		if err := build(ctx, module, t, filepath.Join(bin, t.name)); err != nil {
			return fmt.Errorf("install %s: %w", store, err)
		}
	}
	// The stamp comes last: it vouches for all of them.
	return replaceFile(stamp(bin, store), []byte(version))
}

// moduleVersion is a hash over the module's pins, the indirect ones too.
func moduleVersion(module string) (string, error) {
	h := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func stamp(bin, store string) string { return filepath.Join(bin, store+".version") }

func installed(bin, store, version string, list []tool) bool {
	data, err := os.ReadFile(stamp(bin, store))
	if err != nil || string(data) != version {
		return false
	}
	for _, t := range list {
		if _, err := os.Stat(filepath.Join(bin, t.name)); err != nil {
			return false
		}
	}
	return true
}

// build puts the program in place by a rename, since an older one may be
// running: writing to it would fail with ETXTBSY.
func build(ctx context.Context, module string, t tool, path string) error {
	tmp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	defer os.Remove(tmp) //nolint:errcheck // it is gone once renamed
	cmd := exec.CommandContext(ctx, "go", "build", "-C", module,
		"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", tmp, t.pkg)
	// The caller's flags (-race, -mod=mod, a workspace) are meant for leaderrun.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=", "GOARCH=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", t.pkg, err, strings.TrimSpace(string(out)))
	}
	return os.Rename(tmp, path)
}

func replaceFile(path string, data []byte) error {
	tmp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// lockFile waits for an exclusive lock on the file. It polls, because a
// blocking flock heeds no context.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := tryFlock(f)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, errLocked) {
			_ = f.Close()
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		}
	}
}
