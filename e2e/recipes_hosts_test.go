//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"leaderrun/scripts/servers"
)

// The hosts of the recipes: network namespaces on one network, and an etcd that all
// of them reach.
type recipeHosts struct {
	t    *testing.T // the recipe's
	nets []*servers.Netns
	etcd *store
}

func newRecipeHosts(t *testing.T, n int) recipeHosts {
	t.Helper()
	nets := servers.NewHosts(t, n)
	return recipeHosts{t, nets, own(t, etcdKind, serverOptions{host: nets[0].Addr()})}
}

// A recipeHost is one of them as one recipe sees it: /usr/local/bin holds leaderrun,
// what the examples are and what the recipe's user has; /srv is the same on all.
type recipeHost struct {
	*servers.Netns
	t        *testing.T
	name     string
	bin, srv string
}

// A recipe is a text of the documents and the hosts to run it on.
type recipe struct {
	t         *testing.T
	dir       string // all hosts' /srv
	hosts     []*recipeHost
	endpoints string
	election  *election
	started   atomic.Int32 // candidates
}

// newRecipe prepares hosts that have programs, by their names, besides the examples.
func (h recipeHosts) newRecipe(programs map[string]string) *recipe {
	t := h.t
	t.Helper()
	dir := t.TempDir()
	r := &recipe{
		t: t, dir: filepath.Join(dir, "srv"), endpoints: strings.Join(h.etcd.Endpoints(), ","),
		election: newElection(t, h.etcd.in(t)),
	}
	must(t, os.MkdirAll(filepath.Join(r.dir, "export"), 0o755))
	for i, net := range h.nets {
		host := &recipeHost{Netns: net, t: t, name: fmt.Sprintf("host%d", i+1), srv: r.dir}
		host.bin = filepath.Join(dir, host.name)
		must(t, os.Mkdir(host.bin, 0o755))
		for _, example := range []string{"nightly-export", "virtual-address"} {
			host.has(example, readFile("../examples/recipes/"+example))
		}
		host.has("leaderrun", "#!/bin/sh\nexec "+leaderrunBin+` "$@"`)
		for name, text := range programs {
			host.has(name, text)
		}
		r.hosts = append(r.hosts, host)
	}
	return r
}

// has gives the host a program. $HOST is the host's name in it.
func (h *recipeHost) has(name, text string) {
	h.t.Helper()
	must(h.t, os.WriteFile(filepath.Join(h.bin, name), []byte(strings.ReplaceAll(text, "$HOST", h.name)), 0o755)) //nolint:gosec // a program
}

// mounts are what sets a host's files apart from the others'.
const mounts = `mount --bind "$0" /usr/local/bin; mount --bind "$1" /srv; PATH=/usr/local/bin:$PATH; `

// command returns what runs a script on the host, as the process that is started.
func (h *recipeHost) command(script string, unshare ...string) *exec.Cmd {
	args := append([]string{"--mount"}, unshare...)
	return h.Command("unshare", append(args, "sh", "-euc", mounts+script, h.bin, h.srv)...)
}

// text returns what stands after a line of the documents, for these hosts.
func (r *recipe) text(after string) string {
	r.t.Helper()
	return strings.NewReplacer("h1:2379,h2:2379", r.endpoints, "/usr/bin/leaderrun", "/usr/local/bin/leaderrun").Replace(documented(r.t, after))
}

// entry takes the times off a line of a crontab.
func entry(line string) string {
	fields := strings.SplitN(line, " ", 6)
	return strings.TrimSpace(fields[5])
}

// run starts a command line of leaderrun's on a host.
func (r *recipe) run(h *recipeHost, line string) *candidate {
	r.t.Helper()
	return r.start(h, nil, "exec "+line)
}

// start starts a script on a host.
func (r *recipe) start(h *recipeHost, env []string, script string, unshare ...string) *candidate {
	r.t.Helper()
	id := fmt.Sprintf("%s-%d", h.name, r.started.Add(1))
	return r.election.start(spec{id: id, env: env, via: func(string, ...string) *exec.Cmd { return h.command(script, unshare...) }})
}

// lines returns those of a file in /srv.
func (r *recipe) lines(name string) []string {
	return strings.FieldsFunc(readFile(filepath.Join(r.dir, name)), func(c rune) bool { return c == '\n' })
}

// quiet asserts that a candidate printed nothing.
func (c *candidate) quiet(t *testing.T) {
	t.Helper()
	if said := readFile(c.log) + readFile(c.out); said != "" {
		t.Errorf("%s prints:\n%s", c.id, said)
	}
}
