//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// How a package can fail: it is not the same twice; it installs what does not run, or
// is not found; an upgrade stops a leader, or leaves it unable to hand over, for its
// binary is gone; a guard of the old one cannot give the lock back; a removal leaves
// something, or takes the fencing tokens or what is the user's.

// needsPackages skips where packages cannot be built and installed.
func needsPackages(t testing.TB) {
	t.Helper()
	for _, program := range []string{"dpkg", "lintian", "man"} {
		if _, err := exec.LookPath(program); err != nil {
			without(t, "package", err)
		}
	}
	if out, err := exec.Command("make", "-C", "..", "-q", "--no-print-directory", "goreleaser").CombinedOutput(); err != nil {
		without(t, "package", fmt.Errorf("make install-tools: %w %s", err, out))
	}
	if out, err := private(`layer / "$1" "$1/root"`, t.TempDir()).CombinedOutput(); err != nil {
		without(t, "package", fmt.Errorf("%w: %s", err, out))
	}
}

// makePackages makes those of this checkout, in a copy of it, and returns where they are.
func makePackages(t testing.TB, version string, env ...string) (dir string) {
	t.Helper()
	root, err := filepath.Abs("..")
	must(t, err)
	dir = t.TempDir()
	cmd := private(`layer "$1" "$2" "$1"; cd "$1"
		umask "${UMASK-022}"
		make package VERSION="$4"
		cp dist/*.deb dist/*.tar.gz dist/SHA256SUMS "$3"`, root, t.TempDir(), dir, version)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make package: %v\n%s", err, out)
	}
	return dir
}

// deb is the package for this machine.
func deb(t testing.TB, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*_"+runtime.GOARCH+".deb"))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("packages for %s: %q", runtime.GOARCH, found)
	}
	return found[0]
}

// The same commit makes the same bytes, wherever and by whom; a package is as Debian
// wants one, installs and runs, and is upgraded under running leaders.
func TestPackage(t *testing.T) {
	t.Parallel()
	needsPackages(t)
	old, next := makePackages(t, "v1.0.0"), makePackages(t, "v1.0.0-4-gabc")
	t.Run("again", func(t *testing.T) {
		again := makePackages(t, "v1.0.0", "TZ=Asia/Tokyo", "UMASK=077", "LC_ALL=C")
		if a, b := readFile(filepath.Join(old, "SHA256SUMS")), readFile(filepath.Join(again, "SHA256SUMS")); a != b {
			t.Errorf("the second time it is\n%swant\n%s", b, a)
		}
		check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
		check.Dir = old
		if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), ": OK\n") != 4 {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("lintian", func(t *testing.T) {
		out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error", deb(t, next)).CombinedOutput()
		if t.Logf("%s", out); err != nil {
			t.Error(err)
		}
	})
	t.Run("archive", func(t *testing.T) {
		dir := t.TempDir()
		archives, err := filepath.Glob(filepath.Join(old, "*_"+runtime.GOARCH+".tar.gz"))
		must(t, err)
		out, err := exec.Command("tar", "-C", dir, "--strip-components=1", "-xf", archives[0]).CombinedOutput()
		must(t, err)
		t.Logf("%s", out)
		for _, name := range []string{"LICENSE", "README.md", "man/leaderrun.1.gz", "completions/_leaderrun", "systemd/leaderrun@.service"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
		isVersion(t, exec.Command(filepath.Join(dir, "leaderrun"), "--version"), "v1.0.0")
	})
	t.Run("life", func(t *testing.T) { packageLife(t, deb(t, old), deb(t, next)) })
}

func isVersion(t testing.TB, cmd *exec.Cmd, version string) {
	t.Helper()
	if out, err := cmd.Output(); err != nil || !slices.Contains(strings.Fields(string(out)), version) {
		t.Errorf("%q: %v, says %q, want version %s", cmd.Args, err, out, version)
	}
}

// packageLife installs a package, upgrades it under leaders and removes it.
func packageLife(t *testing.T, old, next string) {
	t.Helper()
	m := newMachine(t)
	const manIndex = "/var/lib/man-db" // is long in the making, and not needed
	m.run("rm", "-f", manIndex+"/auto-update")
	// systemd seems to run, and its control only notes what it is asked.
	const asked = "/run/systemctl"
	m.has("/usr/local/bin/systemctl", "#!/bin/sh\necho \"$@\" >>"+asked+"\n")
	must(t, os.MkdirAll(m.path("/run/systemd/system"), 0o755))
	systemd := func(want string) {
		t.Helper()
		if got := readFile(m.path(asked)); got != want {
			t.Errorf("systemctl was asked for %q, want %q", got, want)
		}
		m.has(asked, "")
	}

	m.run("dpkg", "-i", old)
	systemd("daemon-reload\n")
	isVersion(t, m.command("leaderrun", "--version"), "v1.0.0")
	if page := m.run("man", "-P", "cat", "leaderrun"); !strings.Contains(page, "only while this host leads") {
		t.Errorf("man leaderrun:\n%s", page)
	}
	m.run("bash", "-c", ". /usr/share/bash-completion/bash_completion; _completion_loader leaderrun; complete -p leaderrun")

	var all []*packaged
	for _, s := range []*store{fileStore(t), shared(t, etcdKind)} {
		all = append(all, newPackaged(m, s))
	}
	m.run("dpkg", "-i", next)
	systemd("daemon-reload\n")
	isVersion(t, m.command("leaderrun", "--version"), "v1.0.0+4.gabc")
	for _, p := range all {
		p.upgraded()
	}
	m.has("/etc/leaderrun/billing.env", "LEADERRUN_STORE=file:\n")
	m.run("dpkg", "--remove", "leaderrun")
	systemd("stop leaderrun@*.service\ndaemon-reload\n")
	for _, p := range all {
		p.removed()
	}
	const state, users = "/var/lib/leaderrun", "/etc/leaderrun/billing.env"
	left := func(want ...string) {
		t.Helper()
		but := []string{"/var/lib/dpkg", "/var/log/dpkg.log", "/var/cache/man", manIndex, "/run", "/usr/local/bin/systemctl", state}
		if got := m.changed(but...); !slices.Equal(got, want) {
			t.Errorf("left are %q, want %q", got, want)
		}
		if files, err := os.ReadDir(m.path(state)); err != nil || len(files) == 0 {
			t.Errorf("the fencing tokens are gone: %v", err)
		}
	}
	left(users)
	m.run("dpkg", "--purge", "leaderrun")
	left(users)

	must(t, os.Remove(m.path(users)))
	m.run("dpkg", "-i", next)
	if said := m.run("dpkg", "--purge", "leaderrun"); !strings.Contains(said, state+" is kept") {
		t.Errorf("purge says %q", said)
	}
	left()
	if _, err := os.Stat(m.path("/etc/leaderrun")); !os.IsNotExist(err) {
		t.Errorf("/etc/leaderrun is there: %v", err)
	}
}

// A packaged is an election of candidates that a package installed.
type packaged struct {
	*election
	m    *machine
	a, b *candidate
	led  *tenure
}

func newPackaged(m *machine, s *store) *packaged {
	m.t.Helper()
	p := &packaged{election: newElection(m.t, s), m: m}
	p.a = p.candidate("a")
	p.led = p.leads(p.a, nil, everyRole...)
	p.b = p.candidate("b")
	p.b.standsBehind(p.t, "a", patient)
	return p
}

func (p *packaged) candidate(id string) *candidate {
	p.t.Helper()
	s := spec{id: id, bin: "leaderrun", command: p.tame("--fork", "--daemon"), via: p.m.command}
	if p.store.isFile() {
		s.store = "file:" // whose directory is in the machine
	}
	return p.start(s)
}

// upgraded goes on after an upgrade with what runs from the old binary: a leader, its
// hand-over, and the guard of one that is killed.
func (p *packaged) upgraded() {
	t := p.t
	t.Helper()
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.a.pid)); err != nil || !strings.HasSuffix(exe, " (deleted)") {
		t.Errorf("the leader runs from %s: %v", exe, err)
	}
	p.goesOn(p.led, time.Second)
	p.a.signal(t, unix.SIGTERM)
	p.a.exits(t, 128+15, prompt)
	second := p.leads(p.b, p.led, everyRole...)
	p.handedOver(p.led, second, prompt)

	p.a = p.candidate("new")
	p.a.standsBehind(t, "b", patient)
	p.b.theGuard(t)
	p.b.signal(t, unix.SIGKILL)
	p.led = p.leads(p.a, second, everyRole...)
	p.handedOver(second, p.led, prompt)
	p.b.says(t, released, 1, patient)
}

// removed goes on after the removal with what is no unit.
func (p *packaged) removed() {
	p.t.Helper()
	p.goesOn(p.led, time.Second)
	p.a.signal(p.t, unix.SIGTERM)
	p.a.exits(p.t, 128+15, prompt)
	p.a.says(p.t, released, 1, patient)
}
