//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"leaderrun/scripts/servers"
)

var (
	quoted   = regexp.MustCompile("`([^`]+)`")
	flagWord = regexp.MustCompile(`(?:^|\s)(--?[A-Za-z][\w-]*)`)
)

// "Coming from": the commands run as they are written, the other's and ours, and both
// know the flags of the map.
func TestComingFrom(t *testing.T) {
	t.Parallel()
	ours, err := exec.Command(leaderrunBin, "help", "flags").Output()
	must(t, err)
	for _, x := range []struct {
		other string
		kind  *kind
		help  []string
	}{
		{"consul lock", consulKind, []string{"lock", "-h"}},
		{"etcdctl lock", etcdKind, []string{"lock", "--help"}},
		{"flock", nil, []string{"--help"}},
	} {
		t.Run(x.other, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Symlink(leaderrunBin, filepath.Join(dir, "leaderrun")))
			program, _, _ := strings.Cut(x.other, " ")
			env, as := cleanEnv(), []string(nil)
			if x.kind == nil {
				if os.Getuid() == 0 { // whose --store file: is the machine's
					openToAll(t, dir)
					must(t, os.Chown(dir, nobody, nobody))
					as = []string{"setpriv", "--reuid", strconv.Itoa(nobody), "--clear-groups"}
				}
			} else {
				bin, err := servers.Bin(program)
				must(t, err)
				must(t, os.Symlink(bin, filepath.Join(dir, program)))
				env = shared(t, x.kind).server.(interface{ CtlEnv() []string }).CtlEnv()
			}
			env = append(env, "PATH="+dir+":"+os.Getenv("PATH"), "XDG_STATE_HOME="+dir+"/state")
			theirs, err := runIn(env, program, x.help...)
			if !strings.Contains(theirs, program) {
				t.Fatalf("%s %v: %v: %s", program, x.help, err, theirs)
			}

			_, table, found := strings.Cut(readFile("../README.md"), "| `"+x.other+"` | leaderrun |\n|---|---|\n")
			if !found {
				t.Fatal("README.md has no map")
			}
			table, _, _ = strings.Cut(table, "\n\n")
			for i, row := range strings.Split(table, "\n") {
				cells := strings.Split(strings.Trim(row, "|"), "|")
				if i == 0 {
					for _, cell := range cells {
						runsAsWritten(t, env, as, dir, quoted.FindStringSubmatch(cell)[1])
					}
					continue
				}
				for n, help := range []string{theirs, string(ours)} {
					for _, name := range flagsIn(cells[n]) {
						if !slices.Contains(flagsIn("`"+strings.ReplaceAll(help, "`", "")+"`"), name) {
							t.Errorf("%s: %s is not in the help of column %d", row, name, n+1)
						}
					}
				}
			}
		})
	}
}

// flagsIn returns the flags in what a cell quotes, without those after a --.
func flagsIn(cell string) (names []string) {
	for _, q := range quoted.FindAllStringSubmatch(cell, -1) {
		own, _, _ := strings.Cut(" "+q[1], " -- ")
		for _, f := range flagWord.FindAllStringSubmatch(own, -1) {
			names = append(names, f[1])
		}
	}
	return names
}

// runsAsWritten runs a command line in which the capital words are to be filled in.
func runsAsWritten(t *testing.T, env, as []string, dir, line string) {
	t.Helper()
	line = strings.NewReplacer(
		"PREFIX", strings.TrimPrefix(dir, "/"), "NAME", "billing", "FILE", filepath.Join(dir, "lock"), "CMD", "echo it ran",
	).Replace(line)
	argv := append(as, "sh", "-c", line)
	said, err := runIn(env, argv[0], argv[1:]...)
	if err != nil || !strings.Contains(said, "it ran\n") {
		t.Errorf("%s: %v: %s", line, err, said)
	}
}

func runIn(env []string, name string, args ...string) (string, error) {
	cmd := exec.Command("env", append([]string{name}, args...)...) // finds it by env's PATH
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
}
