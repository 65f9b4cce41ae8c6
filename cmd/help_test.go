//go:build unix

package cmd

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// texts are all that help prints, by what it is asked for; "" is --help.
func texts() map[string]string {
	all := map[string]string{"": overview(), flagsTopic: flagsText()}
	for _, t := range topics {
		all[t.name] = t.text()
	}
	for _, word := range words() {
		all[word] = commandText(named(word)(nil, new(int)))
	}
	return all
}

// A terminal of 24 lines and 80 columns shows --help whole, and breaks no line of
// any other text.
func TestHelpFits(t *testing.T) {
	for word, text := range texts() {
		if text == "" || strings.Contains(text, "\t") {
			t.Errorf("help %s is empty, or has a tab:\n%s", word, text)
		}
		for line := range strings.Lines(text) {
			if n := len(strings.TrimRight(line, "\n")); n > columns {
				t.Errorf("help %s: %d columns: %s", word, n, line)
			}
		}
	}
	if n := strings.Count(overview(), "\n"); n > 24 {
		t.Errorf("--help has %d lines:\n%s", n, overview())
	}
}

// Every flag is explained, in its manual page and its help, and completed.
func TestEveryFlagIsExplained(t *testing.T) {
	run := root(nil, new(int))
	page := string(manual(run))
	offered := answer(t, "-")
	for _, f := range visible(run.Flags()) {
		told(t, "help flags", flagsText(), f)
		told(t, "leaderrun(1)", page, f)
		if !strings.Contains(offered, "\n--"+f.Name+"\t") {
			t.Errorf("--%s is not completed:\n%s", f.Name, offered)
		}
	}
	for _, word := range words() {
		own, all := ownFlags(named(word)(nil, new(int)))
		text, page, offered := texts()[word], string(manual(named(word)(nil, new(int)))), answer(t, word, "-")
		for _, f := range own {
			told(t, "help "+word, text, f)
			told(t, "leaderrun-"+word+"(1)", page, f)
			if !strings.Contains(offered, "\n--"+f.Name+"\t") {
				t.Errorf("%s --%s is not completed:\n%s", word, f.Name, offered)
			}
		}
		if all != strings.Contains(text, takesAll) {
			t.Errorf("help %s: does it take every flag of a run?\n%s", word, text)
		}
	}
}

// told fails unless a text lists a flag, with its value, at the beginning of a line.
func told(t *testing.T, where, text string, f *pflag.Flag) {
	t.Helper()
	if f.Usage == "" {
		t.Errorf("--%s does not say what it is for", f.Name)
	}
	plain := regexp.MustCompile(`\\f[BIR]`).ReplaceAllString(strings.ReplaceAll(text, `\-`, "-"), "")
	if !regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(written(f)) + `( |$)`).MatchString(plain) {
		t.Errorf("%s does not list %s:\n%s", where, written(f), plain)
	}
}

// answer is what a completion script is told of a line, the last word of which is
// being typed.
func answer(t *testing.T, line ...string) string {
	t.Helper()
	c, asked := forShell(append([]string{cobra.ShellCompRequestCmd}, line...))
	if !asked {
		t.Fatal("not taken for a completion script")
	}
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	return "\n" + out.String()
}

// --help names flags that there are, with their defaults.
func TestOverviewIsTrue(t *testing.T) {
	run := root(nil, new(int)).Flags()
	for line := range strings.Lines(overviewFlags + "\n" + root(nil, new(int)).Example) {
		for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(line, -1) {
			f := run.Lookup(m[1])
			if f == nil {
				t.Errorf("there is no --%s: %s", m[1], line)
				continue
			}
			if _, value, found := strings.Cut(line, "(default "); found && value != f.DefValue+")\n" {
				t.Errorf("the default is %s: %s", f.DefValue, line)
			}
		}
	}
}

// Whoever scripts leaderrun goes by its exit statuses: the code, help and README.md
// know the same ones.
func TestExitStatusesAreTold(t *testing.T) {
	var inCode, inReadme []string
	for _, m := range regexp.MustCompile(`(?m)^\texit\w+ += (\d+)`).FindAllStringSubmatch(read(t, "exit.go"), -1) {
		inCode = append(inCode, m[1])
	}
	_, table, _ := strings.Cut(read(t, "../README.md"), "## Exit status\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, m := range regexp.MustCompile(`(?m)^\| ([\d, ]+) \|`).FindAllStringSubmatch(table, -1) {
		inReadme = append(inReadme, strings.Split(m[1], ", ")...)
	}
	var inHelp []string
	for _, m := range regexp.MustCompile(`(?m)^  (\d+) `).FindAllStringSubmatch(texts()["exit-status"], -1) {
		inHelp = append(inHelp, m[1])
	}
	if len(inCode) < 5 || !slices.Equal(inCode, inHelp) || !slices.Equal(inCode, inReadme) {
		t.Errorf("exit.go: %v, help: %v, README.md: %v", inCode, inHelp, inReadme)
	}
}

// What a lost host costs reads the same in README.md's table of stores and in help.
func TestStoresAreTold(t *testing.T) {
	text := strings.Join(strings.Fields(texts()["stores"]), " ")
	rows := regexp.MustCompile("(?m)^\\| `(file|etcd|consul|zk):.*\\| ([^|;]+)[^|]*\\|$").FindAllStringSubmatch(read(t, "../README.md"), -1)
	if len(rows) != 4 {
		t.Fatalf("README.md has %d stores", len(rows))
	}
	for _, row := range rows {
		_, store, _ := strings.Cut(text, row[1]+": "+row[1]+"://")
		cost := "a lost host costs " + strings.TrimSpace(row[2])
		if at := strings.Index(store, cost); at < 0 || at > 300 {
			t.Errorf("%s: %q is in README.md, not in help: %s", row[1], cost, text)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNearest(t *testing.T) {
	words := []string{"store", "name", "ttl", "tls", "stop-signal", "stop-timeout", "try", "id", "loss-grace"}
	for typed, want := range map[string]string{
		"stroe": "store", "storre": "store", "stor": "store", "nmae": "name", "stop-timout": "stop-timeout",
		"stoptimeout": "stop-timeout", "grace": "", "ttls": "ttl", "i": "id",
		"": "", "frobnicate": "", "json": "", "timeout": "",
	} {
		if got := nearest(typed, words); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
