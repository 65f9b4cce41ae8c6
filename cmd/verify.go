//go:build unix

package cmd

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"leaderrun/lock"
	"leaderrun/supervisor/guard"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	options
	token uint64
}

// verify is the command `leaderrun verify [flags]`.
func verify(args []string, code *int) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:     "leaderrun verify [flags]",
		Short:   verifyShort,
		Long:    verifyLong,
		Example: verifyExamples,
	}
	o.observer(c, args, func(ctx context.Context, s lock.Store) error {
		switch {
		case o.name == "":
			return usagef("--name is missing: name the election, or run verify inside a job")
		case o.token == 0:
			return usagef("--fencing-token is missing: give the tenure's, or run verify inside a job")
		}
		var leader lock.Holder
		err := look(ctx, func(ctx context.Context) (err error) {
			leader, err = s.Locker(o.name).Holder(ctx)
			return err
		})
		if err != nil {
			return err
		}
		*code = o.tell(leader)
		return nil
	})
	f := c.Flags()
	f.Uint64Var(&o.token, "fencing-token", 0, usage["fencing-token"])
	f.Lookup("fencing-token").DefValue = ""
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if store, name, _, ok := innermost(); ok { // a variable may be that of a job around this one
			for flag, value := range map[string]string{"store": store, "name": name} {
				if f.Changed(flag) {
					continue
				}
				if err := f.Set(flag, value); err != nil {
					return err
				}
			}
		}
		return run(c, args)
	}
	return c
}

// innermost returns the tenure that this process belongs to, as guard.MarkVariable
// has it.
func innermost() (store, name, tenure string, ok bool) {
	marks := strings.Fields(os.Getenv(guard.MarkVariable))
	if len(marks) == 0 {
		return "", "", "", false
	}
	tenure = marks[len(marks)-1]
	parts := strings.Split(tenure, "#")
	if len(parts) != 3 {
		return "", "", "", false
	}
	store, err1 := url.QueryUnescape(parts[0])
	name, err2 := url.QueryUnescape(parts[1])
	return store, name, tenure, err1 == nil && err2 == nil
}

// tell says how it stands and returns the exit status.
func (o *verifyOptions) tell(leader lock.Holder) int {
	switch {
	case leader.Token == 0:
		fmt.Fprintf(os.Stderr, "leaderrun: nobody leads %s\n", o.name)
		return exitNotLed
	case leader.Token != lock.Token(o.token):
		fmt.Fprintf(os.Stderr, "leaderrun: %s leads %s, with fencing token %d\n", printable(leader.ID), o.name, leader.Token)
		return exitNotLed
	}
	settings, err := o.reach()
	_, _, tenure, ok := innermost()
	if err != nil || !ok || tenure != mark(settings.URL, o.name, leader.Token) {
		return 0 // another tenure's guard is not ours to ask
	}
	left, ok := guard.Left()
	switch {
	case !ok:
		return 0
	case left <= 0:
		fmt.Fprintf(os.Stderr, "leaderrun: the deadline of fencing token %d has passed\n", o.token)
		return exitNotLed
	}
	fmt.Printf("%.3f\n", left.Seconds())
	return 0
}
