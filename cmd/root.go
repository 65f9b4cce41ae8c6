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

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"leaderrun/supervisor"
	"leaderrun/supervisor/guard"
)

// version is set by the linker.
var version = "dev"

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
	// By the first argument alone, so that nothing changes for a command or a
	// setting that is called so.
	var c *cobra.Command
	if len(args) > 1 && args[1] == "check" {
		c = check(args[2:], &code)
	} else {
		c = root(args[1:], &code)
	}
	if err := c.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "leaderrun:", oneLine(err))
		return exitStatus(err)
	}
	return code
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
	return c
}

// dress gives a command the flags of everything that campaigns.
func (o *options) dress(c *cobra.Command, args []string) {
	o.bind(c.Flags())
	c.Flags().SortFlags = false
	c.SetArgs(args)
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
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
	line := append(append([]string{"leaderrun"}, before...), "--")
	return usagef("-- is missing before the command: write: %s", shellLine(append(line, command...)))
}

// flagError says what is wrong with a flag.
func flagError(err error) error {
	if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
		return usagef("--%s: %w", invalid.GetFlag().Name, invalid.Unwrap())
	}
	return usagef("%w: see leaderrun --help", err)
}
