//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leaderrun/scripts/servers"
)

// How what deploy/compose.yaml starts can fail: nobody leads, for leaderrun gave up on a
// store that was not there yet; two lead while one is paused or cut off; who comes back
// does not stand by again; something stays.

// TestCompose runs deploy/compose.yaml as it is, on each of its stores.
func TestCompose(t *testing.T) {
	t.Parallel()
	needsOurImage(t)
	for _, program := range []string{"docker-compose", "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			without(t, "docker", err)
		}
	}
	for _, store := range []string{"etcd", "consul", "zookeeper"} {
		servers.Require(t, store)
	}
	for _, s := range standIns {
		needsImage(t, s)
	}
	t.Cleanup(func() { mustDocker(t, "rmi", "--force", "leaderrun-example") })
	(&composed{t: t, project: "leaderrun-e2e-build", profile: "etcd"}).compose("build", "etcd-a")
	for _, profile := range []string{"etcd", "consul", "zk"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			c := &composed{t: t, project: fmt.Sprintf("leaderrun-e2e-%d-%s", os.Getpid(), profile), profile: profile}
			t.Cleanup(c.down)
			t.Cleanup(c.judge)
			c.compose("up", "--detach")
			c.losesOneAfterTheOther()
		})
	}
}

// A composed is one profile, up.
type composed struct {
	t                *testing.T
	project, profile string
	thawed           float64 // uptime when a container was continued
	thawedToken      uint64
}

func (c *composed) compose(args ...string) {
	c.t.Helper()
	cmd := exec.Command("docker-compose", append([]string{
		"--project-name", c.project, "--file", "../deploy/compose.yaml", "--profile", c.profile, "--ansi", "never",
	}, args...)...)
	cmd.Env = append(cleanEnv(), "DOCKER_BUILDKIT=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Errorf("docker-compose %s: %v\n%s", args[0], err, out)
	}
}

// down ends it and looks for what is left.
func (c *composed) down() {
	if c.t.Failed() {
		c.t.Logf("beats:\n%s", readFile(c.beatsFile()))
		for _, id := range c.containers("") {
			out, _ := exec.Command("docker", "logs", "--tail", "20", id).CombinedOutput()
			c.t.Logf("%s:\n%s", id, out)
		}
	}
	c.compose("down", "--volumes")
	for _, kind := range []string{"container", "network", "volume"} {
		argv := []string{kind, "ls", "--quiet", "--filter", "label=com.docker.compose.project=" + c.project}
		if kind == "container" {
			argv = append(argv, "--all")
		}
		if left := mustDocker(c.t, argv...); left != "" {
			c.t.Errorf("%s left: %s", kind, left)
		}
	}
}

// containers are those of a service, or all.
func (c *composed) containers(service string) []string {
	c.t.Helper()
	argv := []string{"ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=" + c.project}
	if service != "" {
		argv = append(argv, "--filter", "label=com.docker.compose.service="+service)
	}
	return strings.Fields(mustDocker(c.t, argv...))
}

func (c *composed) container(service string) string {
	c.t.Helper()
	ids := c.containers(service)
	if len(ids) != 1 {
		c.t.Fatalf("containers of %s: %q", service, ids)
	}
	return ids[0]
}

// A jobBeat is a line that the job prints.
type jobBeat struct {
	up    float64 // of the machine, in seconds
	token uint64
	host  string
}

func (c *composed) beatsFile() string {
	dir, _ := docker("volume", "inspect", "--format", "{{.Mountpoint}}", c.project+"_work")
	return filepath.Join(dir, "beats")
}

// beats are the job's, in the order in which they were written.
func (c *composed) beats() (all []jobBeat) {
	c.t.Helper()
	for line := range strings.Lines(readFile(c.beatsFile())) {
		var b jobBeat
		if _, err := fmt.Sscan(line, &b.up, &b.token, &b.host); err != nil {
			c.t.Fatalf("beat %q: %v", line, err)
		}
		all = append(all, b)
	}
	return all
}

// leads waits for the first beat of a tenure after that one.
func (c *composed) leads(token uint64) (first jobBeat) {
	c.t.Helper()
	waitFor(c.t, fmt.Sprintf("a leader after token %d", token), 3*patient, func() bool {
		all := c.beats()
		i := slices.IndexFunc(all, func(b jobBeat) bool { return b.token > token })
		if i >= 0 {
			first = all[i]
		}
		return i >= 0
	})
	return first
}

// losesOneAfterTheOther takes the leader away in three ways. Each time another leads,
// and never two.
func (c *composed) losesOneAfterTheOther() {
	t := c.t
	c.leads(0)
	for _, service := range []string{"1", "2", "3"} {
		id := c.container(c.profile + service)
		waitFor(t, c.profile+service+" to be healthy", patient, func() bool {
			return mustDocker(t, "inspect", "--format", "{{.State.Health.Status}}", id) == "healthy"
		})
	}
	network := c.project + "_default"
	for _, loss := range []struct {
		name     string
		lose, is []string
	}{
		{"killed", []string{"kill"}, []string{"start"}},
		{"paused", []string{"pause"}, []string{"unpause"}},
		{"cut off", []string{"network", "disconnect", network}, []string{"network", "connect", network}},
	} {
		all := c.beats()
		led := all[len(all)-1]
		id := c.container(led.host)
		asked := now()
		mustDocker(t, append(loss.lose, id)...)
		next := c.leads(led.token)
		t.Logf("%s %s: %s leads after %v", led.host, loss.name, next.host, now().since(asked))
		if next.host == led.host {
			t.Errorf("%s leads, which was %s", next.host, loss.name)
		}
		mustDocker(t, append(loss.is, id)...)
		if loss.name == "paused" {
			c.thawed, c.thawedToken = uptime(t), led.token
		}
		// It takes part again: it stands behind who leads now, or leads itself, should
		// the other have lost its lease to a machine that stood still.
		waitFor(t, led.host+" to take part", 2*patient, func() bool {
			all := c.beats()
			newest := all[len(all)-1]
			if newest.host == led.host && newest.token > led.token {
				return true
			}
			said, err := exec.Command("docker", "logs", id).CombinedOutput()
			must(t, err)
			by := strings.LastIndex(string(said), "standing by")
			return by >= 0 && strings.Contains(string(said)[by:], fmt.Sprintf("leader_token=%d", newest.token))
		})
	}
}

func uptime(t testing.TB) (up float64) {
	t.Helper()
	_, err := fmt.Sscan(readFile("/proc/uptime"), &up)
	must(t, err)
	return up
}

// judge asserts that no tenure printed anything after a later one, but for what was
// paused: that may do so for a moment when it is continued, before it is ended.
func (c *composed) judge() {
	c.t.Helper()
	var latest jobBeat
	for _, b := range c.beats() {
		thawed := b.token == c.thawedToken && b.up-c.thawed < prompt.Seconds()
		if b.token < latest.token && !thawed {
			c.t.Errorf("%s printed with token %d after %s with %d", b.host, b.token, latest.host, latest.token)
		}
		if b.token == latest.token && b.host != latest.host {
			c.t.Errorf("%s and %s printed with token %d", b.host, latest.host, b.token)
		}
		if b.token > latest.token {
			latest = b
		}
	}
}
