//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A childKind is one way to behave that leaderrun has to cope with. Each of its
// processes beats.
type childKind struct {
	name    string
	command func(e *election) []string
}

func flagged(name string, flags ...string) childKind {
	return childKind{name, func(e *election) []string { return e.child(append(flags, "--life", "24h")...) }}
}

// scripted is a shell script, in which "$@" is a child that beats.
func scripted(name, script string) childKind {
	return childKind{name, func(e *election) []string {
		return append([]string{"/bin/sh", "-c", script, "sh"}, e.child("--life", "24h")...)
	}}
}

var childKinds = []childKind{
	flagged("plain"),
	flagged("TERM-ignoring", "--ignore-term"),
	flagged("forking", "--fork"),
	flagged("double-forking, TERM-ignoring", "--daemon", "--ignore-term"),
	flagged("forking every way", "--fork", "--daemon", "--ignore-term"),
	flagged("stopped", "--fork", "--stop"),
	flagged("burning", "--burn", "--fork"),
	flagged("storming", "--storm", "--daemon"),
	flagged("setuid-dropping", "--user", strconv.Itoa(nobody), "--fork", "--daemon"),
	scripted("setsid", `setsid "$@" --role fork & exec "$@"`),
	scripted("in a shell script", `"$@"; exit $?`),
	scripted("with a pipe to the background", `"$@" --role fork | "$@" --role daemon & exec "$@"`),
	scripted("by setpriv", `"$@" --role fork & exec setpriv --reuid `+strconv.Itoa(nobody)+` --clear-groups "$@"`),
}

// openToAll lets everybody reach a test's directory.
func openToAll(t testing.TB, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
}

// letNobodyBeat opens the file of beats to children that are not root any more.
func (e *election) letNobodyBeat() {
	e.t.Helper()
	openToAll(e.t, e.dir)
	must(e.t, os.WriteFile(e.history.path, nil, 0o666))
	must(e.t, os.Chmod(e.history.path, 0o666)) // whatever the umask
}

// forget gives back the blocks of what was read: an hour's beats would fill the disk.
func (h *history) forget(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile(h.path, os.O_WRONLY, 0)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	if h.offset > 0 {
		must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, h.offset))
	}
}
