//go:build linux

package e2e

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eachDockerStore is for what does not differ by the kind of server.
func eachDockerStore(t *testing.T, run func(s *store)) {
	t.Helper()
	needsDocker(t)
	t.Run("file", func(t *testing.T) { run(fileStore(t)) })
	t.Run("etcd", func(t *testing.T) { run(shared(t, etcdKind)) })
}

// Two containers hand over by `docker stop`, which waits ten seconds before it kills:
// also a tree that does not want to stop is dead before that, and the lock released.
func TestDockerStop(t *testing.T) {
	t.Parallel()
	eachDockerStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a := e.inDocker(spec{id: "a", command: e.wild()})
		first := e.leads(a.candidate, nil, everyRole...)
		b := e.inDocker(spec{id: "b", command: e.tame("--term-exit", "7", "--daemon")})
		b.standsBehind(t, "a", patient)
		asked := now()
		mustDocker(t, "stop", a.name)
		t.Logf("docker stop took %v", now().since(asked))
		a.exits(t, 128+9, prompt)
		a.says(t, released, 1, patient)
		second := e.leads(b.candidate, first)
		e.handedOver(first, second, prompt)

		mustDocker(t, "kill", "--signal", "HUP", b.name)
		waitFor(t, "the child to get HUP", patient, func() bool { return len(e.signalsReceived()) == 1 })
		mustDocker(t, "stop", b.name)
		b.exits(t, 7, prompt)
		e.childGot(second, "SIGHUP", "SIGTERM")
	})
}

// `docker kill`: nothing of the tree lives on.
func TestDockerKill(t *testing.T) {
	t.Parallel()
	eachDockerStore(t, func(s *store) {
		t := s.t
		const ttl = 3 * time.Second
		e := newElection(t, s)
		a := e.inDocker(spec{id: "a", ttl: ttl, command: e.wild()})
		first := e.leads(a.candidate, nil, everyRole...)
		b := e.inDocker(spec{id: "b", ttl: ttl, command: e.wild()})
		b.standsBehind(t, "a", patient)
		mustDocker(t, "kill", a.name)
		a.exits(t, 128+9, prompt)
		e.handedOver(first, e.leads(b.candidate, first, everyRole...), s.takeover(ttl))
	})
}

// What `docker exec` leaves behind is reaped.
func TestDockerExec(t *testing.T) {
	t.Parallel()
	eachDockerStore(t, func(s *store) {
		e := newElection(s.t, s)
		a := e.inDocker(spec{id: "a", command: e.tame()})
		e.leads(a.candidate, nil)
		supervisor, _ := below1(s.t, a.pid1)
		leavesDaemon(s.t, a.pid1, supervisor, func(command ...string) *exec.Cmd {
			return exec.Command("docker", append([]string{"exec", a.name}, command...)...)
		})
		mustDocker(s.t, "stop", a.name)
		a.exits(s.t, 128+15, prompt)
	})
}

// The README's recipe, as it is written: variables are a whole command line, and the
// image's arguments the command.
func TestDockerRecipe(t *testing.T) {
	t.Parallel()
	needsOurImage(t)
	recipe := documented(t, "A Docker image, with `LEADERRUN_STORE` and `LEADERRUN_NAME` in the container's environment:")
	id, err := buildImage("leaderrun-e2e-recipe", "FROM scratch\nCOPY child /usr/bin/billing\n"+recipe)
	must(t, err)
	t.Cleanup(func() { mustDocker(t, "rmi", "--force", id) })

	e := newElection(t, fileStore(t))
	run := func(name string, command ...string) *candidate {
		full := fmt.Sprintf("leaderrun-e2e-%d-%s-%s", os.Getpid(), e.name, name)
		t.Cleanup(func() { mustDocker(t, "rm", "--force", full) })
		argv := slices.Concat([]string{
			"run", "--name", full, "--network", "none", "--volume", e.store.dir + ":/var/lib/leaderrun",
			"--env", "LEADERRUN_STORE=file:", "--env", "LEADERRUN_NAME=billing", "--env", "LEADERRUN_LOG_FORMAT=json", id,
		}, command)
		c := e.start(spec{id: name, via: func(string, ...string) *exec.Cmd { return exec.Command("docker", argv...) }})
		c.says(t, childStarted, 1, patient)
		return c
	}
	run("arguments", "/usr/bin/billing", "--exit", "3", "--after", "100ms").exits(t, 3, patient)
	c := run("none")
	mustDocker(t, "stop", fmt.Sprintf("leaderrun-e2e-%d-%s-none", os.Getpid(), e.name))
	c.exits(t, 128+15, prompt)
	c.says(t, released, 1, prompt)
}

// The image leaderrun, and one that copies from it, ask for no user, no capability, no
// shell and no file system to write to.
func TestDockerImage(t *testing.T) {
	t.Parallel()
	needsOurImage(t)
	_, lines, _ := strings.Cut(readFile("../deploy/compose.Dockerfile"), "\nFROM busybox:1.37\n")
	id, err := buildImage("leaderrun-e2e-copied", "FROM scratch\nCOPY child /usr/bin/billing\n"+lines)
	must(t, err)
	t.Cleanup(func() { mustDocker(t, "rmi", "--force", id) })
	e := newElection(t, fileStore(t))
	must(t, os.Mkdir(e.store.dir, 0o755))
	must(t, os.Chown(e.store.dir, 65534, 65534))
	bare := []string{
		"run", "--rm", "--network", "none", "--read-only", "--user", "65534:65534", "--cap-drop", "ALL",
		"--volume", e.store.dir + ":/state", "--env", "LEADERRUN_STORE=file:///state", "--env", "LEADERRUN_NAME=billing",
	}
	mustDocker(t, append(bare, "leaderrun", "check")...)
	argv := append(bare, "--env", "LEADERRUN_LOG_FORMAT=json", id, "billing", "--exit", "3", "--after", "100ms")
	c := e.start(spec{id: "a", via: func(string, ...string) *exec.Cmd { return exec.Command("docker", argv...) }})
	c.exits(t, 3, patient)
	c.says(t, released, 1, prompt)
}

// A terminal of Docker's: Ctrl-C reaches the child once, and Ctrl-Z, after which
// nobody would continue anything, stops nothing for good.
func TestDockerTerminal(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	e := newElection(t, fileStore(t))
	_, argv := e.dockerRun(spec{id: "a", ttl: ttl, command: e.tame()}, "--interactive", "--tty")
	x := e.terminal()
	x.types("docker '" + strings.Join(argv, "' '") + "'\n")
	first := e.leads(&candidate{id: "a"}, nil)
	x.types(ctrlZ)
	pass(200 * time.Millisecond)
	e.beatsAgain(first)
	e.goesOn(first, 2*ttl)
	x.types(ctrlC)
	x.shows("ready> ")
	x.says("echo status=$?", "status=130")
	e.childGot(first, "SIGINT")
}

// `docker pause` for longer than the lease: the standby leads meanwhile, and the
// tree of the paused one dies when it is continued. With a cgroup v1 nothing can
// kill it before, so it may run for a moment then: a limit that the README names.
// Its beats are kept apart for that.
func TestDockerPause(t *testing.T) {
	t.Parallel()
	eachDockerStore(t, func(s *store) {
		t := s.t
		const ttl = 4 * time.Second
		e := newElection(t, s)
		paused := newHistory(filepath.Join(e.dir, "paused"))
		a := e.inDocker(spec{id: "a", ttl: ttl, command: []string{childBin, "--beats", paused.path, "--ignore-term", "--fork", "--daemon"}})
		waitFor(t, "a to lead", patient, func() bool { paused.read(t); return len(paused.tenures) == 1 && len(paused.inOrder()[0].roles) == 3 })
		first := paused.inOrder()[0]
		b := e.inDocker(spec{id: "b", ttl: ttl, command: e.wild()})
		b.standsBehind(t, "a", patient)
		mustDocker(t, "pause", a.name)
		second := e.leads(b.candidate, nil, everyRole...)
		paused.read(t)
		if gap := second.first.since(first.last); gap <= 0 {
			t.Errorf("b led %v before the last beat of what is paused", -gap)
		}
		asked := now()
		mustDocker(t, "unpause", a.name)
		continued := now()
		a.campaignsAgain(t, patient)
		a.standsBehind(t, "b", patient)
		after := beatsSince(t, paused.path, asked)
		if len(after) == 0 {
			t.Log("after `docker unpause`: no beat")
		} else {
			began, ended := after[0].at, after[len(after)-1].at
			t.Logf("after `docker unpause`: %d beats of three processes, for %v, the last %v after it returned",
				len(after), ended.since(began), ended.since(continued))
			if late := ended.since(continued); late > prompt {
				t.Errorf("the tree lived on for %v", late)
			}
		}
		e.goesOn(second, time.Second)
		kill(t, unix.SIGTERM, a.pid1)
		a.exits(t, 128+15, prompt)
	})
}

// beatsSince returns the beats of a file from a moment on, by their time.
func beatsSince(t testing.TB, path string, from instant) (found []beat) {
	t.Helper()
	for line := range strings.Lines(readFile(path)) {
		b, err := parseBeat(line)
		must(t, err)
		if b.at >= from {
			found = append(found, b)
		}
	}
	slices.SortFunc(found, func(a, b beat) int { return cmp.Compare(a.at, b.at) })
	return found
}
