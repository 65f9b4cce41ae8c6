//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A machine is this one with a layer of its own over its files. What is changed there
// nobody else sees, and it is gone with the test.
type machine struct {
	t      testing.TB
	holder int    // a process that lives in it, as long as its standard input is open
	top    string // what differs from this machine's files, as seen from here
}

// layer puts one over a directory, kept in another that is empty.
const layer = `layer() {
	mount -t tmpfs tmpfs "$2"
	mkdir "$2/top" "$2/work" "$2/root"
	mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/top,workdir=$2/work" "$3"
}
`

// private runs a script whose mounts end with it.
func private(script string, args ...string) *exec.Cmd {
	return exec.Command("unshare", append([]string{"--mount", "--propagation", "private", "sh", "-euc", layer + script, "sh"}, args...)...)
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	dir := t.TempDir()
	cmd := private(`layer / "$1" "$1/root"
		for d in /proc /sys /dev; do mount --rbind $d "$1/root$d"; done
		mkdir -p "$1/root$2"; mount --bind "$2" "$1/root$2"
		exec chroot "$1/root" cat`, dir, os.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, in.Close())
		must(t, cmd.Wait())
	})
	_, err = io.WriteString(in, "ready\n")
	must(t, err)
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("a machine of its own: %v %s", err, said)
	}
	holder := cmd.Process.Pid
	return &machine{t: t, holder: holder, top: fmt.Sprintf("/proc/%d/cwd/../top", holder)}
}

// command returns what runs in the machine, as the process that is started.
func (m *machine) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(m.holder), "--mount", "--root", "--wd=/", name}, args...)...)
	cmd.Env = append(cleanEnv(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	return cmd
}

// run runs a command to its end and returns what it says.
func (m *machine) run(name string, args ...string) string {
	m.t.Helper()
	out, err := m.command(name, args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// path is that of a file of the machine, as seen from here.
func (m *machine) path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(m.holder), "root", name)
}

// has makes a file in the machine.
func (m *machine) has(name, text string) {
	m.t.Helper()
	must(m.t, os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	must(m.t, os.WriteFile(m.path(name), []byte(text), 0o755)) //nolint:gosec // may be a program
}

// changed returns what was made, changed or removed in the machine, but for what is
// below these paths.
func (m *machine) changed(but ...string) (paths []string) {
	m.t.Helper()
	must(m.t, fs.WalkDir(os.DirFS(m.top), ".", func(path string, d fs.DirEntry, err error) error {
		path = "/" + path
		below := slices.ContainsFunc(but, func(b string) bool { return path == b || strings.HasPrefix(path, b+"/") })
		if err == nil && !d.IsDir() && !below {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}
