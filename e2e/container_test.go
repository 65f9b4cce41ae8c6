//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// leaderrun as the entrypoint of containers of a real Docker engine. Their image
// holds leaderrun and the child at the paths that they have here, and nothing else:
// no shell, no libc.

const dockerfile = `FROM scratch
COPY leaderrun child %[1]s/
ENTRYPOINT ["%[1]s/leaderrun","--"]
`

func docker(args ...string) (string, error) {
	cmd := exec.Command("docker", args...)
	cmd.Env = append(cleanEnv(), "DOCKER_BUILDKIT=0") // which needs no plugin
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // is not wrapped
		err = fmt.Errorf("docker %s: %w: %s", args[0], err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

func mustDocker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := docker(args...)
	must(t, err)
	return out
}

var image struct {
	sync.Once
	id  string
	err error
}

// needsDocker returns the image, which the first call builds.
func needsDocker(t testing.TB) string {
	t.Helper()
	if _, err := docker("version"); err != nil {
		without(t, "docker", err)
	}
	image.Do(func() {
		image.id, image.err = buildImage("leaderrun-e2e", fmt.Sprintf(dockerfile, filepath.Dir(leaderrunBin)))
	})
	must(t, image.err)
	return image.id
}

// buildImage makes an image of the programs under test.
func buildImage(name, dockerfile string) (id string, err error) {
	dir := filepath.Dir(leaderrunBin)
	file := filepath.Join(dir, name+".Dockerfile")
	if err = os.WriteFile(file, []byte(dockerfile), 0o600); err != nil {
		return "", err
	}
	return docker("build", "--quiet", "--file", file, "--tag", fmt.Sprintf("%s-%d", name, os.Getpid()), dir)
}

// ourImage is the image leaderrun, by deploy/Dockerfile, of the program under test. It
// takes the place of one that was there.
var ourImage = sync.OnceValue(func() error {
	context := filepath.Join(filepath.Dir(childBin), "context")
	if err := os.MkdirAll(filepath.Join(context, "bin"), 0o755); err != nil {
		return err
	}
	bin, err := os.ReadFile(leaderrunBin)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(context, "bin", "leaderrun"), bin, 0o755); err != nil { //nolint:gosec // a program
		return err
	}
	_, err = docker("build", "--quiet", "--file", "../deploy/Dockerfile", "--tag", "leaderrun", context)
	return err
})

func needsOurImage(t testing.TB) {
	t.Helper()
	needsDocker(t)
	must(t, ourImage())
}

func removeImage() error {
	if image.id == "" {
		return nil
	}
	// The second may never have been made, which --force forgives.
	_, err := docker("rmi", "--force", image.id, "leaderrun")
	return err
}

// A container is a candidate that is the entrypoint of one.
type container struct {
	*candidate
	name string
	pid1 int
}

// dockerRun is the command line of a container that has what the tests read in its
// place, and the host's network. It is removed at the end of the test.
func (e *election) dockerRun(s spec, options ...string) (name string, argv []string) {
	e.t.Helper()
	id := needsDocker(e.t)
	name = fmt.Sprintf("leaderrun-e2e-%d-%s-%s", os.Getpid(), e.name, s.id)
	e.t.Cleanup(func() { mustDocker(e.t, "rm", "--force", "--volumes", name) })
	argv = []string{"run", "--name", name, "--network", "host", "--volume", e.dir + ":" + e.dir}
	if e.store.isFile() {
		argv = append(argv, "--volume", e.store.dir+":"+e.store.dir)
	}
	line := e.argv(s)
	return name, slices.Concat(argv, options, []string{"--entrypoint", line[0], id}, line[1:])
}

// inDocker starts a candidate in a container, whose log is the usual file.
func (e *election) inDocker(s spec, options ...string) *container {
	e.t.Helper()
	c := &container{}
	name, argv := e.dockerRun(s, options...)
	s.via = func(string, ...string) *exec.Cmd { return exec.Command("docker", argv...) }
	c.name, c.candidate = name, e.start(s)
	c.pid1 = pidOf(e.t, name)
	return c
}

// pidOf waits for process 1 of a container and returns its number on this host.
func pidOf(t testing.TB, name string) (pid int) {
	t.Helper()
	waitFor(t, name+" to run", patient, func() bool {
		out, err := docker("inspect", "--format", "{{.State.Pid}}", name)
		pid, _ = strconv.Atoi(out)
		return err == nil && pid > 0
	})
	return pid
}
