//go:build unix

package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// flagGroups are the flags of a run as help shows them.
var flagGroups = []struct {
	title string
	flags []string
}{
	{"Election", []string{"store", "name", "id", "ttl", "loss-grace", "wait", "try", "conflict-exit-code", "exit-on-loss"}},
	{"Stopping", []string{"stop-signal", "stop-timeout"}},
	{"Jobs", []string{"once-per", "once-for", "schedule", "rerun", "attempts", "catch-up"}},
	{"Restarts, health and hooks", []string{
		"restart", "restart-limit", "health-command", "health-interval", "health-retries", "on-elected", "on-lost", "hook-timeout",
	}},
	{"Store and credentials", []string{
		"tls", "tls-ca", "tls-cert", "tls-key", "tls-server-name", "user", "password-file", "acl-token-file",
	}},
	{"Logging and --listen", []string{"label", "log-format", "log-level", "listen"}},
}

// grouped are those flags of a group that there are.
func grouped(f *pflag.FlagSet, names []string) (flags []*pflag.Flag) {
	for _, name := range names {
		if flag := f.Lookup(name); flag != nil {
			flags = append(flags, flag)
		}
	}
	return flags
}

func visible(f *pflag.FlagSet) (flags []*pflag.Flag) {
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "help" && flag.Name != "version" && !flag.Hidden {
			flags = append(flags, flag)
		}
	})
	return flags
}

// flagsText is `leaderrun help flags`.
func flagsText() string {
	var b strings.Builder
	b.WriteString(flagsHead + "\n")
	run := root(nil, new(int)).Flags()
	for _, group := range flagGroups {
		fmt.Fprintf(&b, "\n%s\n%s", group.title, flagLines(grouped(run, group.flags)))
	}
	b.WriteString("\n" + flagsFoot + "\n")
	return b.String()
}

// columns is the width of a terminal.
const columns = 80

// flagLines lists flags, one below the other.
func flagLines(flags []*pflag.Flag) string {
	width := 0
	for _, f := range flags {
		if n := len(written(f)); n <= 24 {
			width = max(width, n)
		}
	}
	var b strings.Builder
	for _, f := range flags {
		name := written(f)
		lines := wrapped(meaning(f), columns-width-4)
		if len(name) > width { // stands alone
			fmt.Fprintf(&b, "  %s\n", name)
			name = ""
		}
		for i, line := range lines {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "  %-*s  %s\n", width, name, line)
		}
	}
	return b.String()
}

func wrapped(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}

// written is a flag as it is typed.
func written(f *pflag.Flag) string {
	s := "--" + f.Name
	if f.Shorthand != "" {
		s = "-" + f.Shorthand + ", " + s
	}
	return strings.TrimSuffix(s+" "+valueName(f), " ")
}

// valueName stands for a flag's value: its choices, or what it is called in
// README.md. It is empty for a flag that takes none.
func valueName(f *pflag.Flag) string {
	if all := choices(f.Name); all != nil {
		return strings.Join(all, "|")
	}
	switch f.Value.Type() {
	case "bool":
		return ""
	case "duration":
		return "D"
	case "int", "int64", "uint", "uint64":
		return "N"
	case "signal":
		return "SIG"
	case "stringToString":
		return "KEY=VALUE"
	}
	switch f.Name {
	case "store":
		return "URL"
	case "once-per", "schedule":
		return "PERIOD"
	case "once-for":
		return "KEY"
	case "listen":
		return "ADDR"
	case "to":
		return "ID"
	case "health-command", "on-elected", "on-lost":
		return "CMD"
	case "tls-ca", "tls-cert", "tls-key":
		return "FILE"
	}
	words := strings.Split(f.Name, "-") // --password-file FILE
	return strings.ToUpper(words[len(words)-1])
}

// meaning is what a flag does, with its default.
func meaning(f *pflag.Flag) string {
	if slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
		return f.Usage
	}
	return fmt.Sprintf("%s (default %s)", f.Usage, f.DefValue)
}
