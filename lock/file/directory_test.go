//go:build unix

package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"leaderrun/lock"
)

func resolve(t *testing.T, raw string) (string, error) {
	t.Helper()
	u, err := lock.ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Resolve(lock.Settings{URL: u})
	return s.URL.Path, err
}

func TestResolve(t *testing.T) {
	tmp, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"real", "real/below"} {
		if err := os.Mkdir(filepath.Join(tmp, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link": "real/below", "nowhere": "gone", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(tmp, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ url, path, wrong string }{
		{url: "file://" + tmp, path: tmp},
		{url: "file://" + tmp + "/link/", path: tmp + "/real/below"},
		{url: "file://" + tmp + "/link/../x", path: tmp + "/x"},
		{url: "file://" + tmp + "/link/not/yet", path: tmp + "/real/below/not/yet"},
		{url: "file://" + tmp + "/a%20b", path: tmp + "/a b"},
		{url: "file://" + tmp + "/nowhere/x", wrong: "nowhere"},
		{url: "file://" + tmp + "/loop", wrong: "too many links"},
		{url: "file://var/lib", wrong: "three slashes"},
		{url: "file://h1,h2/var", wrong: "three slashes"},
		{url: "file:///var?mode=0700", wrong: `parameter "mode"`},
	} {
		path, err := resolve(t, c.url)
		switch {
		case c.wrong == "" && (err != nil || path != c.path):
			t.Errorf("%s: %s, %v; want %s", c.url, path, err, c.path)
		case c.wrong != "" && (!errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), c.wrong) || !strings.Contains(err.Error(), "--store")):
			t.Errorf("%s: %v; want --store and %q", c.url, err, c.wrong)
		}
	}
	if _, err := Resolve(lock.Settings{URL: lock.URL{Scheme: "file", Path: "var"}}); !errors.Is(err, lock.ErrConfig) {
		t.Errorf("relative path: %v", err)
	}
}

// The short form is a directory that outlives a reboot.
func TestShortForm(t *testing.T) {
	if os.Geteuid() == 0 {
		if path, err := resolve(t, "file:"); err != nil || path != "/var/lib/leaderrun" {
			t.Errorf("root: %s, %v", path, err)
		}
		asNobody(t)
	}
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	for state, want := range map[string]string{
		"": home + "/.local/state/leaderrun", "state": home + "/.local/state/leaderrun",
		home + "/state": home + "/state/leaderrun",
	} {
		t.Setenv("XDG_STATE_HOME", state)
		if path, err := resolve(t, "file:"); err != nil || path != want {
			t.Errorf("XDG_STATE_HOME=%s: %s, %v; want %s", state, path, err, want)
		}
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	if _, err := resolve(t, "file:"); !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), "file:///DIR") {
		t.Errorf("no home: %v", err)
	}
}

// openTemp is a temporary directory that every user can reach.
func openTemp(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// asNobody gives up root's rights until the end of the test.
func asNobody(t *testing.T) {
	t.Helper()
	// All threads, so that it does not matter where a goroutine runs.
	if err := syscall.Seteuid(65534); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := syscall.Seteuid(0); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMakesDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	defer syscall.Umask(syscall.Umask(0))
	openAt(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		want = 0o755
	}
	if info.Mode().Perm() != want {
		t.Errorf("made with mode %v, want %v", info.Mode().Perm(), want)
	}
}

// A directory that cannot serve is told before any campaign, with the cure.
func TestUnwritable(t *testing.T) {
	closed := filepath.Join(openTemp(t), "closed")
	if err := os.Mkdir(closed, 0o555); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(openTemp(t), "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		asNobody(t)
	}
	for path, why := range map[string]string{
		closed: "permission denied", closed + "/below": "permission denied",
		plain: "not a directory", plain + "/below": "not a directory", "/proc/leaderrun": "no such file or directory",
	} {
		s, err := Open(lock.Settings{URL: lock.URL{Scheme: "file", Path: path}})
		if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), "--store file://"+path) || !strings.Contains(err.Error(), why+": name a directory") {
			t.Errorf("%s: %v, %v; want --store, %q and the cure", path, s, err, why)
		}
	}
}

// What stands in the place of the lock file and is none is not followed.
func TestNotALockFile(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	if err := os.Symlink("/dev/null", filepath.Join(path, "link.lock")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(path, "fifo.lock"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(path, "dir.lock"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "fifo", "dir"} {
		if _, err := s.Locker(name).Acquire(t.Context(), lock.Candidate{TTL: 5e9}); err == nil {
			t.Errorf("%s: locked", name)
		}
	}
	for _, name := range []string{"", "../up", "a/b", "a\x00b"} {
		if _, err := s.Locker(name).Acquire(t.Context(), lock.Candidate{TTL: 5e9}); !errors.Is(err, lock.ErrConfig) {
			t.Errorf("%q: %v, want ErrConfig", name, err)
		}
	}
}
