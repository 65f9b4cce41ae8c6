//go:build linux

package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refusesDirectory asserts that the directory is refused with 78, at once, in one
// line with these words.
func (e *election) refusesDirectory(id, dir string, setup func(*exec.Cmd), words ...string) {
	e.t.Helper()
	a := e.start(spec{id: id, store: "file://" + dir, setup: setup})
	a.exits(e.t, 78, 5*time.Second)
	said := readFile(a.log)
	for _, word := range append(words, "--store") {
		if strings.Count(said, "\n") != 1 || !strings.Contains(said, word) {
			e.t.Errorf("want one line with %q", word)
		}
	}
}

// A directory that may not be written to.
func TestUnwritableDirectory(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	openUp(t, e.dir)
	e.refusesDirectory("there", e.dir, asNobody, e.dir, "permission denied")
	e.refusesDirectory("new", filepath.Join(e.dir, "new"), asNobody, filepath.Join(e.dir, "new"), "permission denied")
}

// A file system whose locks hold on one host only, or not at all: FUSE, served
// by this test, stands for them. The list itself is lock/file's to test.
func TestNetworkFileSystem(t *testing.T) {
	dir := t.TempDir()
	mountFUSE(t, dir)
	e := newElection(t, fileStore(t))
	e.refusesDirectory("there", dir, nil, dir, "FUSE")
	// A directory that leaderrun would have to make there is no better.
	e.refusesDirectory("new", filepath.Join(dir, "new"), nil, dir, "FUSE")
}
