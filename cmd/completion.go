//go:build unix

package cmd

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completion is the command `leaderrun completion SHELL`. The scripts ask leaderrun
// itself what may follow: see forShell.
func completion(args []string, _ *int) *cobra.Command {
	c := &cobra.Command{
		Use:           "leaderrun completion [bash|zsh|fish]",
		Short:         completionShort,
		Long:          completionLong,
		Example:       completionExamples,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(_ *cobra.Command, shell []string) error {
			if len(shell) != 1 || !slices.Contains(shells, shell[0]) {
				return usagef("name the shell: %s", strings.Join(shells, ", "))
			}
			return writeCompletion(os.Stdout, shell[0])
		},
	}
	plain(c, args)
	return c
}

var shells = []string{"bash", "zsh", "fish"}

func writeCompletion(w io.Writer, shell string) error {
	r := root(nil, new(int))
	switch shell {
	case "bash":
		return r.GenBashCompletionV2(w, true)
	case "zsh":
		return r.GenZshCompletion(w)
	}
	return r.GenFishCompletion(w, true)
}

// forShell is the command that answers a completion script, if it is one who asks:
// `leaderrun __complete LINE...`, the last word of which is being typed.
func forShell(args []string) (c *cobra.Command, asked bool) {
	if len(args) < 2 || args[0] != cobra.ShellCompRequestCmd && args[0] != cobra.ShellCompNoDescRequestCmd {
		return nil, false
	}
	line := args[1:]
	c = root(nil, new(int))
	c.ValidArgsFunction = func(_ *cobra.Command, before []string, typed string) ([]string, cobra.ShellCompDirective) {
		switch {
		case slices.Contains(line[:len(line)-1], "--"):
			return completeCommand(before, typed)
		case len(line) == 1:
			return described(words(), func(w string) string { return named(w)(nil, new(int)).Short }), cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"--\t" + dashMeaning}, cobra.ShellCompDirectiveNoFileComp
	}
	if len(line) > 1 && named(line[0]) != nil {
		c = named(line[0])(nil, new(int))
		c.ValidArgsFunction = completeWord(line[0])
		line = line[1:]
	}
	c.SetArgs(append([]string{args[0]}, line...))
	completeValues(c)
	return c, true
}

// completeWord says what may follow a command of leaderrun's that is no flag.
func completeWord(command string) cobra.CompletionFunc {
	var next []string
	switch command {
	case "help":
		next = append(topicNames(), words()...)
	case "completion":
		next = shells
	}
	return func(_ *cobra.Command, before []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(before) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return next, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeCommand offers what PATH has for the first word after --, and files.
func completeCommand(before []string, typed string) (names []string, _ cobra.ShellCompDirective) {
	if len(before) > 0 || strings.Contains(typed, "/") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if name := e.Name(); strings.HasPrefix(name, typed) && executable(filepath.Join(dir, name)) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveDefault
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// completeValues offers the values of flags; those that are files the shell knows.
func completeValues(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		values, how := choices(f.Name), cobra.ShellCompDirectiveNoFileComp
		switch valueName(f) {
		case "FILE", "CMD":
			return
		case "URL":
			values, how = []string{"file:", "etcd:", "consul:", "zk:"}, how|cobra.ShellCompDirectiveNoSpace
		case "SIG":
			values = []string{"TERM", "INT", "QUIT", "HUP", "USR1", "USR2"}
		case "PERIOD":
			values = []string{"1m", "5m", "1h", "@hourly", "@daily", "@weekly", "@monthly"}
		}
		_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, how))
	})
}

func described(words []string, short func(string) string) []string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = w + "\t" + short(w)
	}
	return list
}
