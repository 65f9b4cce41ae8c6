//go:build unix

package cmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"leaderrun/lock"
	"leaderrun/lock/stores"
	"leaderrun/supervisor/guard"
)

// check is the command `leaderrun check [flags]`. It takes every flag of a run, so
// that the same line with check in front, and without the command, is a check of
// that run.
func check(args []string, code *int) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "leaderrun check [flags]",
		Short:         checkShort,
		Long:          checkLong,
		Example:       checkExamples,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(c *cobra.Command, command []string) error {
			f := c.Flags()
			if len(command) > 0 {
				rest := args[len(args)-len(command):]
				if f.ArgsLenAtDash() == 0 {
					rest = append([]string{"--"}, rest...)
				}
				return usagef("check takes no command: leave out %s", shellLine(rest))
			}
			from := flagsGiven(f)
			if err := fromEnvironment(f); err != nil {
				return err
			}
			if o.name == "" {
				o.name = checkElection
			}
			if err := o.check(f); err != nil {
				return err
			}
			if _, err := logLevel(o.logLevel); err != nil {
				return err
			}
			if err := checkFormat(o.logFormat); err != nil {
				return err
			}
			*code = runCheck(&o, f, from)
			return nil
		},
	}
	c.Flags().SetInterspersed(false)
	o.dress(c, args)
	c.Flags().Lookup("name").Usage = checkNameUsage
	return c
}

// checkElection is where the keys of a check go that names no election.
const checkElection = "leaderrun-check"

// runCheck tells on standard output what it finds and returns the exit status.
func runCheck(o *options, f *pflag.FlagSet, from origins) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Whatever wants us to end waits until nothing is left in the store.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// A reader of standard output that has gone is noticed by the write. The
	// signal must not end us, and comes also of sockets once it is caught.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	var ending sync.WaitGroup
	var cause syscall.Signal
	ending.Go(func() {
		select {
		case sig := <-signals:
			cause = sig.(syscall.Signal)
			cancel()
		case <-ctx.Done():
		}
	})
	unread := false
	r := &report{out: os.Stdout, unread: func() {
		unread = true
		cancel()
	}}
	r.check(ctx, o, f, from)

	signal.Stop(signals) // what came until now is in the channel or taken
	cancel()
	ending.Wait()
	if cause == 0 && len(signals) > 0 {
		cause = (<-signals).(syscall.Signal)
	}
	switch {
	case cause != 0:
		r.print("\n%s\n", interrupted)
		if cause == syscall.SIGINT {
			dieOfInterrupt()
		}
		return 128 + int(cause)
	case unread:
		return 128 + int(syscall.SIGPIPE)
	}
	return r.conclude()
}

// check looks at one thing after the other, up to the first that leaves nothing
// to look at.
func (r *report) check(ctx context.Context, o *options, f *pflag.FlagSet, from origins) {
	r.head(headSettings)
	settings, err := o.settings()
	if err != nil {
		settings.URL.Params = nil // one that means nothing may hold a secret
	}
	r.settings(o, f, settings, from)
	if err != nil {
		r.tell(lock.Finding{Topic: "settings", Err: err})
		return
	}
	r.head(headStore)
	if err := guard.Supported(); err != nil {
		r.tell(lock.Finding{Topic: "host", Err: fmt.Errorf("%w: %w", lock.ErrConfig, err)})
	}
	if o.listen != "" {
		if l, err := listen(o.listen); err == nil {
			_ = l.Close()
		} else { // perhaps by the leaderrun that runs here with these settings
			r.tell(lock.Finding{Topic: "listen", Text: oneLine(err), Warning: true})
		}
	}
	store, err := stores.Open(settings)
	if err != nil {
		r.tell(lock.Finding{Topic: "store", Err: err})
		return
	}
	defer func() { _ = store.Close() }()
	host, _ := os.Hostname()
	c := lock.Candidate{
		ID: fmt.Sprintf("%s/%d", host, os.Getpid()), Host: host,
		TTL: time.Duration(o.ttl), Grace: time.Duration(o.lossGrace), GraceYields: o.defaultGrace,
	}
	outlook := store.Locker(o.name).Inspect(ctx, c, r.tell)
	if outlook.Lifetime == 0 || ctx.Err() != nil {
		return
	}
	r.timeline(outlook, c, o)
}
