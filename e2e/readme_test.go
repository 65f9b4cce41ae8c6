//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each block of the README that somebody could type, by its first line, and who runs it
// as it is written. `make test` is what runs these.
var readmeBlocks = map[string]string{
	"make demo ":                     "TestDemo",
	"== Two candidates ":             "TestDemo",
	"* * * * *  /usr/bin/leaderrun ": "TestRecipes",
	"echo 'COMMAND=":                 "TestSystemdRecipe",
	"COPY --from=leaderrun ":         "TestDockerRecipe",
	"make package ":                  "TestPackage", // and make image
	"leaderrun status ":              "TestReadmeOperations",
}

// Nothing stands in the README that no test runs.
func TestReadmeBlocks(t *testing.T) {
	sources, err := filepath.Glob("*_test.go")
	must(t, err)
	var all strings.Builder
	for _, name := range sources {
		all.WriteString(readFile(name))
	}
	seen := map[string]bool{}
	for _, block := range regexp.MustCompile(`\n\n    (.*)`).FindAllStringSubmatch(readFile("../README.md"), -1) {
		found := ""
		for begin := range readmeBlocks {
			if strings.HasPrefix(block[1], begin) {
				found = begin
			}
		}
		if found == "" {
			t.Errorf("no test runs %q", block[1])
		}
		seen[found] = true
	}
	for begin, test := range readmeBlocks {
		if !seen[begin] {
			t.Errorf("README.md has no block that begins with %q", begin)
		}
		if !strings.Contains(all.String(), "\nfunc "+test+"(t *testing.T)") {
			t.Errorf("there is no %s", test)
		}
	}
}

// makes runs a target in the checkout, with nothing of the tests' own environment.
func makes(t *testing.T, target string) string {
	t.Helper()
	cmd := exec.Command("make", "-C", "..", "--no-print-directory", target)
	cmd.Env = cleanEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("make %s: %v\n%s", target, err, out)
	}
	return string(out)
}

// make demo works, and says what the README quotes, but for times and places.
func TestDemo(t *testing.T) {
	t.Parallel()
	said := makes(t, "demo")
	figures := regexp.MustCompile(`[0-9][0-9.:]*`)
	masked := figures.ReplaceAllString(regexp.MustCompile(`demo\.\w+`).ReplaceAllString(said, "demo.X"), "N")
	for line := range strings.Lines(documented(t, "What `make demo` shows, shortened:")) {
		line = strings.TrimSpace(figures.ReplaceAllString(regexp.MustCompile(`demo\.\w+`).ReplaceAllString(line, "demo.X"), "N"))
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
