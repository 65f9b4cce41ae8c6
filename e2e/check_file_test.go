//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What modes and owners forbid is named with the file that they are of.
func TestCheckFileModes(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		without(t, "root", os.ErrPermission)
	}
	dir := filepath.Join(t.TempDir(), "store")
	must(t, os.Mkdir(dir, 0o700))
	openUp(t, filepath.Dir(dir))
	check(t, asNobody, "--store", "file://"+dir).exits(78, 5*time.Second).
		says("error store .*" + dir + ".*permission denied")

	must(t, os.Chmod(dir, 0o777))
	check(t, asNobody, "--store", "file://"+dir, "--name", "n").clean().
		says("ok directory " + dir + ": drwxrwxrwx, owner root")
	leavesNothing(t, dir)
	// What an election of another user has left.
	for _, name := range []string{"locked", "kept"} {
		path := filepath.Join(dir, name+map[string]string{"locked": ".lock", "kept": ".d"}[name])
		if name == "locked" {
			must(t, os.WriteFile(path, nil, 0o644))
		} else {
			must(t, os.Mkdir(path, 0o755))
		}
		check(t, asNobody, "--store", "file://"+dir, "--name", name).exits(77, 5*time.Second).
			says("error election .*credentials refused.*" + path + " is .*owner root .*run as one user")
		must(t, os.RemoveAll(path))
	}
	leavesNothing(t, dir)
}

func leavesNothing(t testing.TB, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind in %s: %v", dir, left)
	}
}

// Whatever ends a check, what it made is removed first.
func TestCheckFileInterrupted(t *testing.T) {
	t.Parallel()
	for name, end := range checkEndings {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "store")
			h := holdCheck(t, "ok       create", "--store", "file://"+dir)
			if made, err := os.ReadDir(dir); err != nil || len(made) == 0 {
				t.Errorf("nothing there while it is held: %v", err)
			}
			h.ends(end)
			leavesNothing(t, parent)
		})
	}
}
