//go:build unix

package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"leaderrun/lock"
	"leaderrun/supervisor"
)

// An electionStatus is what status tells of one election, and how --json writes it.
type electionStatus struct {
	Name     string           `json:"name"`
	Leader   *lock.Holder     `json:"leader"`          // null: nobody leads
	Standbys []standby        `json:"standbys"`        // in the order in which they come to lead
	Ticks    supervisor.Ticks `json:"ticks"`           // the latest last
	Keys     supervisor.Ticks `json:"keys"`            // of --once-for
	Error    string           `json:"error,omitempty"` // why it cannot be told: something else lies in its place
}

// A standby is who stands in the queue.
type standby struct {
	ID    string    `json:"id"`
	Host  string    `json:"host"`
	PID   int       `json:"pid,omitempty"`
	Since time.Time `json:"since"`
}

// statusOptions are the flags of status.
type statusOptions struct {
	options
	json, watch bool
}

// status is the command `leaderrun status [flags]`.
func status(args []string, code *int) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:     "leaderrun status [flags]",
		Short:   statusShort,
		Long:    statusLong,
		Example: statusExamples,
	}
	o.observer(c, args, func(ctx context.Context, s lock.Store) (err error) {
		*code, err = o.run(ctx, s)
		return err
	})
	c.Flags().Lookup("name").Usage = statusNameUsage
	c.Flags().BoolVar(&o.json, "json", false, usage["json"])
	c.Flags().BoolVar(&o.watch, "watch", false, usage["watch"])
	return c
}

// exitNotLed is the status of commands that ask whether an election is led as it
// should be, and find that it is not.
const exitNotLed = 1

// watchEvery is how often --watch looks.
const watchEvery = time.Second

func (o *statusOptions) run(ctx context.Context, s lock.Store) (int, error) {
	list, err := o.look(ctx, s)
	if err != nil {
		return 0, err
	}
	if err := o.print(os.Stdout, list); err != nil {
		return 0, err
	}
	if o.watch {
		return 0, o.follow(ctx, s, list)
	}
	if len(list) == 0 || slices.ContainsFunc(list, func(e electionStatus) bool { return e.Leader == nil }) {
		return exitNotLed, nil
	}
	return 0, nil
}

// follow prints what has changed, until it is killed or nobody reads.
func (o *statusOptions) follow(ctx context.Context, s lock.Store, last []electionStatus) error {
	told := false // that the store is away
	for pause := watchEvery; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		began := time.Now()
		list, err := o.look(ctx, s)
		pause = max(watchEvery, time.Since(began)) // of many elections
		switch {
		case errors.Is(err, lock.ErrUnavailable):
			if !told {
				fmt.Fprintln(os.Stderr, "leaderrun:", oneLine(err))
			}
			told = true
			continue
		case err != nil:
			return err
		}
		back := told
		told = false
		if !back && same(list, last) {
			continue
		}
		last = list
		if !o.json {
			fmt.Println()
		}
		if err := o.print(os.Stdout, list); err != nil {
			return err
		}
	}
}

func same(a, b []electionStatus) bool { return string(asJSON(a)) == string(asJSON(b)) }

// look asks the store about the election that is meant, or about all, each in its own time.
func (o *statusOptions) look(ctx context.Context, s lock.Store) ([]electionStatus, error) {
	names := []string{o.name}
	if o.name == "" {
		err := look(ctx, func(ctx context.Context) (err error) {
			names, err = s.Elections(ctx)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	list := []electionStatus{}
	for _, name := range names {
		var e electionStatus
		err := look(ctx, func(ctx context.Context) (err error) {
			e, err = statusOf(ctx, name, s.Locker(name))
			return err
		})
		switch {
		case errors.Is(err, lock.ErrConfig) && o.name == "": // of others there is something to tell
			e.Error = oneLine(err)
		case err != nil:
			return nil, fmt.Errorf("election %s: %w", name, err)
		}
		list = append(list, e)
	}
	return list, nil
}

func statusOf(ctx context.Context, name string, l lock.Locker) (electionStatus, error) {
	e := electionStatus{Name: name, Standbys: []standby{}, Ticks: supervisor.Ticks{}, Keys: supervisor.Ticks{}}
	holder, err := l.Holder(ctx)
	if err != nil {
		return e, err
	}
	if holder.Token != 0 {
		e.Leader = &holder
	}
	queue, err := l.Queue(ctx)
	if err != nil {
		return e, err
	}
	for _, h := range queue {
		e.Standbys = append(e.Standbys, standby{h.ID, h.Host, h.PID, h.Since})
	}
	for value, ts := range map[string]*supervisor.Ticks{supervisor.TicksValue: &e.Ticks, supervisor.KeysValue: &e.Keys} {
		recorded, err := supervisor.ReadTicks(ctx, l, value)
		if err != nil {
			return e, err
		}
		*ts = append(*ts, recorded...) // [] in JSON, not null
	}
	return e, nil
}

func (o *statusOptions) print(w io.Writer, list []electionStatus) error {
	if o.json {
		_, err := fmt.Fprintf(w, "%s\n", asJSON(list))
		return err
	}
	return statusTable(w, list, o.name != "")
}

func asJSON(list []electionStatus) []byte {
	b, err := json.Marshal(map[string]any{"elections": list})
	if err != nil {
		panic(err) // strings, numbers and times
	}
	return b
}
