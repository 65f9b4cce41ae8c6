//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// What a package has besides the program: the manual pages, which man shows without a
// warning and within 80 columns, one for each command, and the completion scripts.
func TestManualPages(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("man"); err != nil {
		without(t, "man", err)
	}
	dir := t.TempDir()
	docs := filepath.Join(dir, "docs")
	must(t, build(docs, "leaderrun/scripts/docs"))
	if out, err := exec.Command(docs, filepath.Join(dir, "out")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	overview, err := exec.Command(leaderrunBin, "--help").Output()
	must(t, err)
	pages := []string{"leaderrun"}
	for _, m := range regexp.MustCompile(`(?m)^  leaderrun ([a-z-]+)  `).FindAllSubmatch(overview, -1) {
		pages = append(pages, "leaderrun-"+string(m[1]))
	}
	found, err := filepath.Glob(filepath.Join(dir, "out", "man", "*"))
	must(t, err)
	if len(pages) < 3 || len(found) != len(pages) {
		t.Errorf("pages %v, want %v", found, pages)
	}
	for _, name := range pages {
		page := filepath.Join(dir, "out", "man", name+".1")
		shown := man(t, page)
		if !strings.Contains(shown, "NAME\n       "+name+" - ") {
			t.Errorf("%s does not say what it is:\n%s", name, shown)
		}
		for line := range strings.Lines(shown) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s: %d columns: %s", name, n, line)
			}
		}
	}
	shown := man(t, filepath.Join(dir, "out", "man", "leaderrun.1"))
	for _, section := range []string{"STORES", "SIGNALS", "EXIT STATUS", "GUARANTEES"} {
		if !strings.Contains(shown, "\n"+section+"\n") {
			t.Errorf("leaderrun(1) has no section %s", section)
		}
	}
	// What a formatter could take for its own language is shown as it stands.
	for _, line := range []string{"--store etcd://h1:2379,h2:2379 --name billing -- ./billing", `role grant-permission --prefix=true ROLE \`, "(or ~/.local/state/leaderrun)"} {
		if !strings.Contains(strings.Join(strings.Fields(shown), " "), line) {
			t.Errorf("leaderrun(1) does not show %q:\n%s", line, shown)
		}
	}
	for file, shell := range map[string]string{"leaderrun.bash": "bash", "_leaderrun": "zsh", "leaderrun.fish": "fish"} {
		want, err := exec.Command(leaderrunBin, "completion", shell).Output()
		must(t, err)
		if got := readFile(filepath.Join(dir, "out", "completions", file)); got != string(want) {
			t.Errorf("%s is not what leaderrun completion %s writes", file, shell)
		}
	}
}

// man shows a page as a terminal of 80 columns does, without its bold and underlined.
func man(t *testing.T, page string) string {
	t.Helper()
	cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", page)
	cmd.Env = append(os.Environ(), "MANWIDTH=80", "MAN_KEEP_FORMATTING=", "MANPAGER=cat", "LC_ALL=C.UTF-8", "GROFF_NO_SGR=1")
	var warnings strings.Builder
	cmd.Stderr = &warnings
	shown, err := cmd.Output()
	if err != nil || warnings.Len() > 0 {
		t.Errorf("%s: %v: %s", page, err, warnings.String())
	}
	return regexp.MustCompile(".\b").ReplaceAllString(string(shown), "")
}
