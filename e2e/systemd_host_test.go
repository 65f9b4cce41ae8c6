//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A systemdHost is a real systemd, process 1 of namespaces and of a cgroup of its own,
// with the files of this host, its network, the unit as it is shipped and no other.
type systemdHost struct {
	e    *election
	unit string
	dir  string // with what this host has besides the usual
	pid1 int    // as the tests see it
}

const unitFile = "../deploy/systemd/leaderrun@.service"

// bootScript is given the host's directory.
const bootScript = `set -e
mount --make-rprivate /
mount -t overlay -o "lowerdir=$0/bin:/usr/bin" overlay /usr/bin
mount -t tmpfs tmpfs /run
mkdir /run/etc /run/work
mount -t overlay -o "lowerdir=$0/etc:/etc,upperdir=/run/etc,workdir=/run/work" overlay /etc
umount --lazy --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /
exec env -i container=leaderrun-e2e "PATH=$PATH" SYSTEMD_UNIT_PATH=/etc/systemd/system /lib/systemd/systemd --system --unit=test.target --log-target=console`

// systemd boots one for an election, of which this candidate takes part when its unit
// is started. The drop-in's lines come to those of the unit.
func (e *election) systemd(s spec, dropIn ...string) (*systemdHost, *candidate) {
	e.t.Helper()
	t := e.t
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		without(t, "systemd", err)
	}
	if os.Geteuid() != 0 {
		without(t, "systemd", fmt.Errorf("not root"))
	}
	group := newCgroup(t)
	must(t, os.Chmod(string(group), 0o755)) // as the root of all cgroups is
	dir := t.TempDir()
	h := &systemdHost{e: e, dir: dir, unit: "leaderrun@" + e.name + ".service"}
	c := &candidate{id: s.id, log: filepath.Join(e.dir, s.id+".log"), out: filepath.Join(e.dir, s.id+".out")}
	write := func(name string, lines ...string) {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	}
	// Those that every unit depends on are empty here.
	for _, target := range []string{"sysinit", "basic", "shutdown", "multi-user", "network-online", "test"} {
		write("etc/systemd/system/"+target+".target", "[Unit]")
	}
	write("etc/systemd/system/leaderrun@.service", readFile(unitFile))
	if s.ttl == 0 {
		s.ttl = longTTL
	}
	write("etc/systemd/system/"+h.unit+".d/test.conf", append([]string{
		"[Service]", "StandardOutput=append:" + c.out, "StandardError=append:" + c.log,
		"Environment=LEADERRUN_LOG_FORMAT=json LEADERRUN_ID=" + s.id + " LEADERRUN_TTL=" + s.ttl.String(),
	}, dropIn...)...)
	write("etc/leaderrun/"+e.name+".env", "LEADERRUN_STORE="+e.store.url, "COMMAND="+strings.Join(s.command, " "))
	must(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	must(t, os.Symlink(leaderrunBin, filepath.Join(dir, "bin", "leaderrun")))
	h.boot(group)
	e.add(c)
	return h, c
}

// boot starts it, and ends it with all that is in it after the test.
func (h *systemdHost) boot(group cgroup) {
	h.e.t.Helper()
	t := h.e.t
	namespaces := &candidate{id: "systemd", done: make(chan struct{})}
	namespaces.cmd = exec.Command("unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc",
		"--", "/bin/sh", "-c", bootScript, h.dir)
	console := filepath.Join(h.dir, "console")
	namespaces.cmd.Stdout, namespaces.cmd.Stderr = appendTo(t, console), appendTo(t, console)
	namespaces.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	group.setup(t)(namespaces.cmd)
	must(t, namespaces.run())
	t.Cleanup(func() {
		kill(t, unix.SIGKILL, namespaces.pid)
		waitFor(t, "systemd to end", patient, namespaces.ended)
		waitFor(t, "its cgroups to be removed", patient, func() bool { return removeBelow(string(group)) == nil })
		if t.Failed() {
			t.Logf("systemd's console:\n%s", readFile(console))
		}
	})
	if !poll(patient, func() bool {
		for _, p := range childrenOf(t, namespaces.pid) {
			h.pid1 = p.pid
		}
		_, err := h.run("systemctl", "show", "--property=Version")
		return err == nil || namespaces.ended()
	}) || namespaces.ended() {
		without(t, "systemd", fmt.Errorf("it does not boot: %s", readFile(console)))
	}
}

// removeBelow removes the empty cgroups below one.
func removeBelow(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if path := filepath.Join(dir, entry.Name()); entry.IsDir() && err == nil {
			if err = removeBelow(path); err == nil {
				err = os.Remove(path)
			}
		}
	}
	return err
}

// run runs a program there.
func (h *systemdHost) run(argv ...string) (string, error) {
	enter := []string{"--target", fmt.Sprint(h.pid1), "--mount", "--pid", "--cgroup", "--"}
	out, err := exec.Command("nsenter", slices.Concat(enter, argv)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// systemctl does something to the unit.
func (h *systemdHost) systemctl(verb string) {
	h.e.t.Helper()
	if out, err := h.run("systemctl", verb, h.unit); err != nil {
		h.e.t.Fatalf("systemctl %s: %v: %s", verb, err, out)
	}
}

// is waits until the unit has a property.
func (h *systemdHost) is(property, want string) {
	h.e.t.Helper()
	got := ""
	if !poll(patient, func() bool {
		got, _ = h.run("systemctl", "show", "--value", "--property="+property, h.unit)
		return strings.HasPrefix(got, want)
	}) {
		h.e.t.Errorf("%s of %s is %q, want %q", property, h.unit, got, want)
	}
}
