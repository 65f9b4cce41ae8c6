//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const bashCompletion = "/usr/share/bash-completion/bash_completion"

// typing is a line whose last word is being typed, and what a shell then offers.
type typing struct {
	line string
	want []string
	more bool // what else it offers does not matter
}

var typings = []typing{
	{"leaderrun --st", []string{"--stop-signal", "--stop-timeout", "--store"}, false},
	{"leaderrun --store ", []string{"consul:", "etcd:", "file:", "zk:"}, false},
	{"leaderrun --store e", []string{"etcd:"}, false},
	{"leaderrun --restart ", []string{"always", "no", "on-failure"}, false},
	{"leaderrun --log-level w", []string{"warn"}, false},
	{"leaderrun --stop-signal U", []string{"USR1", "USR2"}, false},
	{"leaderrun ch", []string{"check"}, false},
	{"leaderrun ", []string{"check", "completion", "help"}, true},
	{"leaderrun help st", []string{"stores"}, true},
	{"leaderrun completion ", []string{"bash", "fish", "zsh"}, false},
	{"leaderrun check --tls-s", []string{"--tls-server-name"}, false},
	// Only as the first word is it a command of ours.
	{"leaderrun --name check --tls-s", []string{"--tls-server-name"}, false},
	{"leaderrun --store file: --name n ch", nil, false},
	// After -- no flag is ours.
	{"leaderrun --name n -- uniquely-na", []string{"uniquely-named"}, false},
	{"leaderrun -- ch", []string{"chmod"}, true},
	{"leaderrun -- uniquely-named --st", nil, false},
}

// commandsPath is a PATH with leaderrun and a program that nobody else has.
func commandsPath(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Symlink(leaderrunBin, filepath.Join(dir, "leaderrun")))
	must(t, os.WriteFile(filepath.Join(dir, "uniquely-named"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "uniquely-named-text"), nil, 0o644)) // not to be run
	return dir + ":" + os.Getenv("PATH")
}

// askShell runs a shell's script, which prints what is offered, a word a line.
func askShell(t *testing.T, x typing, shell ...string) {
	t.Helper()
	cmd := exec.Command(shell[0], shell[1:]...)
	cmd.Dir = t.TempDir() // no files to offer
	cmd.Env = append(cleanEnv(), "PATH="+commandsPath(t), "HOME="+cmd.Dir, "LINE="+x.line)
	out, err := cmd.CombinedOutput()
	var got []string
	for line := range strings.Lines(string(out)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if word != "" && !strings.Contains(word, "compopt: not currently") { // nobody presses a key
			got = append(got, word)
		}
	}
	slices.Sort(got)
	missing := slices.ContainsFunc(x.want, func(w string) bool { return !slices.Contains(got, w) })
	if err != nil || missing || !x.more && len(got) != len(x.want) {
		t.Errorf("%q: %v, want %v: %v\n%s", x.line, got, x.want, err, out)
	}
}

// What bash does on a tab: it splits the line at COMP_WORDBREAKS and calls what the
// script has bound to leaderrun.
const askBash = `. ` + bashCompletion + `
source <(leaderrun completion bash)
COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9 COMP_KEY=9
read -ra COMP_WORDS <<<"$LINE"
[[ $LINE != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
bound=$(complete -p leaderrun)
[[ $bound =~ -F\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" leaderrun "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"`

func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(bashCompletion); err != nil {
		without(t, "bash-completion", err)
	}
	for _, x := range typings {
		askShell(t, x, "bash", "--norc", "-c", askBash)
	}
}

func TestCompletionInFish(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("fish"); err != nil {
		without(t, "fish", err)
	}
	for _, x := range typings {
		askShell(t, x, "fish", "--no-config", "-c", "leaderrun completion fish | source; complete -C $LINE")
	}
}

// zsh has nothing that asks for completions without a terminal; it reads the script.
func TestCompletionInZsh(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("zsh"); err != nil {
		without(t, "zsh", err)
	}
	script, err := exec.Command(leaderrunBin, "completion", "zsh").Output()
	must(t, err)
	check := exec.Command("zsh", "-f", "-n")
	check.Stdin = strings.NewReader(string(script))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 || len(script) == 0 {
		t.Errorf("%v: %s", err, out)
	}
}
