//go:build unix

package cmd

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A topic is a text of help/, 72 columns wide: paragraphs, "- " items, and what is
// indented and keeps its lines. The manual page is made of the same.
type topic struct{ name, short string }

var topics = []topic{
	{"stores", "where candidates meet, and what a lost host costs"},
	{"signals", "what becomes of a signal"},
	{"exit-status", "what leaderrun exits with"},
	{"guarantees", "what is promised, and what is not"},
}

//go:embed help/*.txt
var topicTexts embed.FS

func (t topic) text() string {
	text, _ := topicTexts.ReadFile("help/" + t.name + ".txt")
	return string(text)
}

// flagsTopic is made of the flags themselves.
const flagsTopic = "flags"

// help is the command `leaderrun help [TOPIC|COMMAND]`.
func help(args []string, _ *int) *cobra.Command {
	c := &cobra.Command{
		Use:           "leaderrun help [TOPIC|COMMAND]",
		Short:         "Explain " + strings.Join(topicNames(), ", "),
		Long:          helpLong(),
		Example:       helpExamples,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(_ *cobra.Command, on []string) error {
			switch len(on) {
			case 0:
				fmt.Print(overview())
				return nil
			case 1:
				return printHelp(on[0])
			}
			return usagef("help takes one word: see leaderrun help help")
		},
	}
	plain(c, args)
	return c
}

// plain makes a command that has no flags.
func plain(c *cobra.Command, args []string) {
	c.SetArgs(args)
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetFlagErrorFunc(flagError)
}

func printHelp(word string) error {
	if word == flagsTopic {
		fmt.Print(flagsText())
		return nil
	}
	for _, t := range topics {
		if t.name == word {
			fmt.Print(t.text())
			return nil
		}
	}
	if command := named(word); command != nil {
		fmt.Print(commandText(command(nil, new(int))))
		return nil
	}
	if near := nearest(word, append(topicNames(), words()...)); near != "" {
		return usagef("no help on %q: did you mean %s?", word, near)
	}
	return usagef("no help on %q: take one of %s, or a command", word, strings.Join(topicNames(), ", "))
}

func topicNames() []string {
	names := make([]string, 0, len(topics)+1)
	for _, t := range topics {
		names = append(names, t.name)
	}
	return append(names, flagsTopic)
}

// words are the commands that users name.
func words() []string {
	return append(slices.Sorted(maps.Keys(commands)), "completion", "help")
}

// called is how a command is called.
func called(c *cobra.Command) string {
	name, _, _ := strings.Cut(c.Use, " [")
	return name
}

func showOverview(*cobra.Command, []string)    { fmt.Print(overview()) }
func showCommand(c *cobra.Command, _ []string) { fmt.Print(commandText(c)) }

// overview fits a screen of 24 lines.
func overview() string {
	r := root(nil, new(int))
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n%s\n\nUsage: %s\n", r.Short, r.Example, r.Use)
	for _, word := range words() {
		fmt.Fprintf(&b, "  leaderrun %-11s %s\n", word, named(word)(nil, new(int)).Short)
	}
	fmt.Fprintf(&b, "\n%s\n%s\n", overviewFlags, overviewFoot)
	return b.String()
}

func commandText(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n%s\n\nUsage: %s\n\n%s\n", c.Short, c.Example, c.Use, c.Long)
	own, all := ownFlags(c)
	if len(own) > 0 {
		fmt.Fprintf(&b, "\nFlags\n%s", flagLines(own))
	}
	if all {
		fmt.Fprintf(&b, "\n%s\n", takesAll)
	}
	return b.String()
}

// ownFlags are the flags of a command to be listed with it; all says that it takes
// those of a run besides.
func ownFlags(c *cobra.Command) (own []*pflag.Flag, all bool) {
	run := root(nil, new(int)).Flags()
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if r := run.Lookup(f.Name); f.Name != "help" && !f.Hidden && (r == nil || r.Usage != f.Usage) {
			own = append(own, f)
		}
	})
	all = true
	run.VisitAll(func(f *pflag.Flag) { all = all && c.Flags().Lookup(f.Name) != nil })
	if !all {
		own = visible(c.Flags())
	}
	return own, all
}
