//go:build unix

// Package cmd is the command line: flags, environment, texts for people and
// exit statuses. It decides nothing about who leads.
package cmd

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"leaderrun/supervisor"
	"leaderrun/supervisor/guard"
)

// version is set by the linker.
var version = "dev"

// commands are those that users name, each in a file of its own.
var commands = map[string]func(args []string, code *int) *cobra.Command{
	"check":     check,
	"status":    status,
	"step-down": stepDown,
	"verify":    verify,
}

// Main runs leaderrun with the arguments of the process and returns its exit
// status.
func Main(args []string) int {
	// Libraries (net/http) write their own mishaps to standard error, which is the
	// child's, and may be full.
	log.SetOutput(io.Discard)
	if os.Getpid() == 1 && guard.Supported() == nil {
		return initMain(args)
	}
	guard.NameStarted("leaderrun")
	if len(args) > 1 { // hidden: leaderrun starts itself with these
		switch args[1] {
		case guard.GuardCommand:
			return guardMain(args[2:])
		case guard.SentinelCommand:
			return sentinelMain(args[2:])
		case guard.ReleaseCommand:
			return releaseMain(args[2:])
		}
	}
	code := 0
	c, asked := forShell(args[1:])
	if !asked {
		c = chosen(args[1:], &code)
	}
	if err := c.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "leaderrun:", oneLine(err))
		return exitStatus(err)
	}
	return code
}

// chosen is the command that the first argument names, by that alone, so that
// nothing changes for a command or a setting that is called so.
func chosen(args []string, code *int) *cobra.Command {
	if len(args) > 0 {
		if command := named(args[0]); command != nil {
			c := command(args[1:], code)
			c.SetHelpFunc(showCommand)
			return c
		}
	}
	return root(args, code)
}

// named is the command that users call so, nil if there is none.
func named(word string) func(args []string, code *int) *cobra.Command {
	switch word { // these list the others
	case "help":
		return help
	case "completion":
		return completion
	}
	return commands[word]
}

// initMain is leaderrun as the first process of a container: leaderrun does what
// it is called for in a child. Without what Supported asks for there can be no
// child, and leaderrun says so itself.
func initMain(args []string) int {
	status, err := supervisor.Init(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaderrun:", oneLine(err))
		return exitStatus(err)
	}
	return status
}

// root is the command `leaderrun [flags] -- COMMAND`.
func root(args []string, code *int) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "leaderrun [flags] -- COMMAND [ARG...]",
		Short:         short,
		Long:          long,
		Example:       examples,
		Version:       version,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(c *cobra.Command, command []string) (err error) {
			if err = separated(c.Flags(), args, command); err != nil {
				return err
			}
			if err = fromEnvironment(c.Flags()); err != nil {
				return err
			}
			if err = o.check(c.Flags()); err != nil {
				return err
			}
			*code, err = runCommand(&o, command)
			return err
		},
	}
	c.Flags().SetInterspersed(false) // the command's own flags are not ours
	o.dress(c, args)
	c.SetHelpFunc(showOverview)
	return c
}

// dress gives a command the flags of everything that campaigns.
func (o *options) dress(c *cobra.Command, args []string) {
	o.bind(c.Flags())
	c.Flags().SortFlags = false
	c.SetArgs(args)
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetFlagErrorFunc(flagError)
}

// separated requires "--" before the command, because without it a flag of the
// command could be taken for one of leaderrun's.
func separated(f *pflag.FlagSet, args, command []string) error {
	switch {
	case f.ArgsLenAtDash() == 0 && len(command) > 0:
		return nil
	case len(command) == 0:
		return usagef("no command: write it after --, for example: leaderrun --store file: --name backup -- ./backup.sh")
	}
	before := args[:len(args)-len(command)]
	hint := ""
	if word := nearest(command[0], words()); word != "" {
		hint = fmt.Sprintf(", or did you mean %s?", shellLine(slices.Concat([]string{"leaderrun", word}, before, command[1:])))
	}
	return usagef("-- is missing before the command: write: %s%s",
		shellLine(slices.Concat([]string{"leaderrun"}, before, []string{"--"}, command)), hint)
}

// flagError says what is wrong with a flag.
func flagError(c *cobra.Command, err error) error {
	if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
		return usagef("--%s: %w", invalid.GetFlag().Name, invalid.Unwrap())
	}
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) {
		return unknownFlag(c, unknown)
	}
	return usagef("%w: see %s --help", err, called(c))
}
