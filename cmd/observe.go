//go:build unix

package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"leaderrun/lock"
	"leaderrun/lock/stores"
)

// answerIn bounds how long a command that looks once waits for the store.
const answerIn = 10 * time.Second

// observer makes a command that takes part in no election: how to reach the store is
// all it needs to be told. run is called with its flags complete.
func (o *options) observer(c *cobra.Command, args []string, run func(context.Context, lock.Store) error) *cobra.Command {
	o.ttl = defaultTTL // what requests are bounded by
	c.SilenceErrors, c.SilenceUsage = true, true
	c.Args = cobra.ArbitraryArgs
	f := c.Flags()
	o.bindPlace(f)
	o.bindAccess(f)
	f.SortFlags = false
	c.SetArgs(args)
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetFlagErrorFunc(flagError)
	c.RunE = func(c *cobra.Command, rest []string) error {
		if len(rest) > 0 {
			return usagef("%s takes no command and no arguments: leave out %s", called(c), shellLine(rest))
		}
		if err := fromEnvironment(f); err != nil {
			return err
		}
		return o.open(c.Context(), run)
	}
	return c
}

// open calls run with the store.
func (o *options) open(ctx context.Context, run func(context.Context, lock.Store) error) error {
	if o.store == "" {
		return usagef("--store is missing: say where the candidates meet, for example --store file: or --store etcd://HOST:2379")
	}
	if o.name != "" {
		if err := checkName(o.name); err != nil {
			return err
		}
	}
	settings, err := o.reach()
	if err != nil {
		return err
	}
	settings.Observe = true
	store, err := stores.Open(settings)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	return run(ctx, store)
}

// look is one look at the store.
func look(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	return f(ctx)
}
