//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Each command of the README, in a block or within its text, by its beginning, and who
// runs it as it is written. `make test` is what runs these.
var readmeCommands = map[string]string{
	"make demo":                        "TestDemo",
	"== Two candidates ":               "TestDemo",
	"* * * * *  /usr/bin/leaderrun ":   "TestRecipes",
	"echo 'COMMAND=":                   "TestSystemdRecipe",
	"COPY --from=leaderrun ":           "TestDockerRecipe",
	"make faults":                      "TestFaults",
	"leaderrun --store ":               "TestComingFrom",
	"make package ":                    "TestPackage", // and make image
	"source <(leaderrun completion ba": "TestCompletionInBash",
	"leaderrun --help":                 "TestHelpAsWritten",
	"leaderrun help stores":            "TestHelpAsWritten",
	"leaderrun check":                  "TestCheckEtcd",
	"leaderrun verify":                 "TestVerify",
	"leaderrun status ":                "TestReadmeOperations",
}

// Nothing stands in the README that no test runs.
func TestReadmeCommands(t *testing.T) {
	sources, err := filepath.Glob("*_test.go")
	must(t, err)
	var all strings.Builder
	for _, name := range sources {
		all.WriteString(readFile(name))
	}
	seen := map[string]bool{}
	commands := regexp.MustCompile("\n\n    (.*)|`((?:make|leaderrun|source) [^`]+)`")
	for _, match := range commands.FindAllStringSubmatch(readFile("../README.md"), -1) {
		command, known := match[1]+match[2], false
		for begin := range readmeCommands {
			if strings.HasPrefix(command, begin) {
				seen[begin], known = true, true
			}
		}
		if !known {
			t.Errorf("no test runs %q", command)
		}
	}
	for begin, test := range readmeCommands {
		if !seen[begin] {
			t.Errorf("README.md has no command that begins with %q", begin)
		}
		if !strings.Contains(all.String(), "\nfunc "+test+"(t *testing.T)") {
			t.Errorf("there is no %s", test)
		}
	}
}

var checkout sync.Mutex // what one make builds there, another runs

// makes runs targets in the checkout, with nothing of the tests' own environment.
func makes(t *testing.T, targets ...string) string {
	t.Helper()
	checkout.Lock()
	defer checkout.Unlock()
	cmd := exec.Command("make", append([]string{"-C", "..", "--no-print-directory"}, targets...)...)
	cmd.Env = cleanEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("make %v: %v\n%s", targets, err, out)
	}
	return string(out)
}

// make demo works on each store, and says what the README quotes, but for times and places.
func TestDemo(t *testing.T) {
	t.Parallel()
	demonstrates(t)
	for _, store := range []string{"etcd", "consul", "zookeeper"} {
		t.Run(store, func(t *testing.T) { demonstrates(t, "STORE="+store) })
	}
}

func demonstrates(t *testing.T, settings ...string) {
	t.Helper()
	said := makes(t, append([]string{"demo"}, settings...)...)
	places, figures := regexp.MustCompile(`in \w+://\S+:`), regexp.MustCompile(`[0-9][0-9.:]*`)
	mask := func(s string) string { return figures.ReplaceAllString(places.ReplaceAllString(s, "in URL:"), "N") }
	masked := mask(said)
	for line := range strings.Lines(documented(t, "What `make demo` shows, shortened:")) {
		line = mask(strings.TrimSpace(line))
		_, after, found := strings.Cut(masked, line)
		if !found {
			t.Errorf("it does not say, or not in this order: %s", line)
			continue
		}
		masked = after
	}
	if t.Failed() {
		t.Log(said)
	}
}

// make faults measures each fault of the README's table, and never finds two commands of
// leaderrun's at once.
func TestFaults(t *testing.T) {
	t.Parallel()
	said := makes(t, "faults")
	for _, heading := range []string{
		"handover: SIGTERM to the leader", "takeover: SIGKILL to", "takeover: SIGSTOP to", "takeover: the leader's way to the store is silent", "loss: the lease is revoked",
	} {
		_, table, found := strings.Cut(said, "\n"+heading)
		table, _, _ = strings.Cut(table, "\n\n")
		ours := regexp.MustCompile(`(?m)^  leaderrun .*`).FindAllString(table, -1)
		if !found || len(ours) < 3 { // the file store has no network, and no lease to revoke
			t.Errorf("%q: measured %d times", heading, len(ours))
		}
		for _, row := range ours {
			if !regexp.MustCompile(`^  leaderrun \w+ +[1-9]\d* +[0-9.]+ m?s `).MatchString(row) || strings.Contains(row, "at once") {
				t.Errorf("%s: %s", heading, row)
			}
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

// The image is made as the README says; TestDockerImage and others use one that is made
// so.
func TestMakeImage(t *testing.T) {
	needsOurImage(t) // which removes what is made here, and is not in use: no other test runs
	before := mustDocker(t, "images", "--quiet", "leaderrun")
	makes(t, "image")
	if after := mustDocker(t, "images", "--quiet", "leaderrun"); after != before {
		mustDocker(t, "rmi", before)
	}
	if out := mustDocker(t, "run", "--rm", "leaderrun", "--version"); !strings.Contains(out, "leaderrun version ") {
		t.Errorf("the image says %q", out)
	}
}

// The help that the README names: a screen, and the topics.
func TestHelpAsWritten(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(readFile("../README.md"), "`leaderrun --help` fits a screen; `leaderrun help ")
	rest, _, found := strings.Cut("`"+rest, " say\nmore.")
	if !found {
		t.Fatal("README.md does not name the topics")
	}
	for _, topic := range quoted.FindAllStringSubmatch(rest, -1) {
		if lines := helpLines(t, "help", topic[1]); lines < 10 {
			t.Errorf("leaderrun help %s has %d lines", topic[1], lines)
		}
	}
	if lines := helpLines(t, "--help"); lines < 10 || lines > 24 {
		t.Errorf("leaderrun --help has %d lines", lines)
	}
}

func helpLines(t *testing.T, args ...string) int {
	t.Helper()
	out, err := exec.Command(leaderrunBin, args...).Output()
	must(t, err)
	return strings.Count(string(out), "\n")
}

// What the README says of operations, as it is written but for the servers.
func TestReadmeOperations(t *testing.T) {
	t.Parallel()
	e := newElection(t, own(t, etcdKind, serverOptions{}))
	e.name = "billing"
	a := e.start(spec{id: "h1"})
	first := e.leads(a, nil)
	b := e.start(spec{id: "h2"})
	b.standsBehind(t, "h1", patient)
	script := strings.ReplaceAll(documented(t, "## Operations"), "h1:2379,h2:2379", strings.Join(e.store.Endpoints(), ","))
	cmd := exec.Command("/bin/sh", "-exc", script)
	dir := t.TempDir()
	must(t, os.Symlink(leaderrunBin, filepath.Join(dir, "leaderrun")))
	cmd.Env = append(cleanEnv(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	must(t, err)
	for _, want := range []string{`(?m)^billing +h1 .* h2$`, `(?m)^h2 leads billing with fencing token`} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("no line like %s", want)
		}
	}
	e.handedOver(first, e.leads(b, first), prompt)
}
