//go:build unix

package cmd

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"leaderrun/lock"
	"leaderrun/supervisor"
)

// stepDownOptions are the flags of step-down.
type stepDownOptions struct {
	options
	to string
}

// stepDown is the command `leaderrun step-down [flags]`.
func stepDown(args []string, code *int) *cobra.Command {
	var o stepDownOptions
	c := &cobra.Command{
		Use:     "leaderrun step-down [flags]",
		Short:   stepDownShort,
		Long:    stepDownLong,
		Example: stepDownExamples,
	}
	o.observer(c, args, func(ctx context.Context, s lock.Store) error {
		if o.name == "" {
			return usagef("--name is missing: say whose leader is to step down, for example --name backup")
		}
		ctx, stop := untilSignal(ctx)
		defer stop()
		if o.wait > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(o.wait), errStillWaiting)
			defer cancel()
		}
		said, err := o.run(ctx, s.Locker(o.name))
		if said != "" {
			fmt.Println(said)
		}
		if errors.Is(err, errNotAsAsked) {
			*code = exitNotLed
			return nil
		}
		return err
	})
	c.Flags().StringVar(&o.to, "to", "", usage["to"])
	c.Flags().Var(&o.wait, "wait", usage["step-down wait"])
	c.Flags().Lookup("wait").DefValue = ""
	return c
}

// untilSignal returns a context that a signal ends, whose cause is the exit status.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case sig := <-signals:
			cancel(statusError{128 + int(sig.(syscall.Signal)), fmt.Errorf("received %v", sig)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

var (
	errNotAsAsked   = errors.New("not as asked for")
	errStillWaiting = statusError{exitNotElected, errors.New("waited long enough")}
)

const (
	// answerWithin is how long a leader has to answer: its store is asked by it all the
	// time, so that it is long for one that is well.
	answerWithin = 5 * time.Second
	// passesWithin is far above what it takes to pass a lock on.
	passesWithin = 2 * time.Second
	// lookAgain is the pause between two looks whether it has.
	lookAgain = 100 * time.Millisecond
	// askAgain is after how many looks it is asked again.
	askAgain = 10
	// stillAfter is when who waits is told for what.
	stillAfter = 5 * time.Second
	// awayFor is how long the store may be away while somebody is to come to lead.
	awayFor = time.Minute
)

// run returns what is to be said on standard output, also with errNotAsAsked.
func (o *stepDownOptions) run(ctx context.Context, l lock.Locker) (string, error) {
	leader, target, err := o.parties(ctx, l)
	switch {
	case err != nil:
		return "", err
	case leader.Token == 0:
		return fmt.Sprintf("nobody leads %s: there is nothing to hand over", o.name), errNotAsAsked
	case len(target.queue) == 0:
		return fmt.Sprintf("nobody stands by for %s: %s goes on", o.name, leader.ID), errNotAsAsked
	case o.to != "" && target.id == leader.ID:
		return fmt.Sprintf("%s leads %s already", leader.ID, o.name), nil
	case o.to != "" && target.id == "":
		return fmt.Sprintf("nobody whose id begins with %s stands by for %s: %s goes on; there are %s", o.to, o.name, leader.ID, standbys(target.queue)), errNotAsAsked
	}
	ask := supervisor.StepDown{ID: rand.Text()}
	if target.id != "" {
		// Each of the others may come to its turn once, and one more that comes meanwhile.
		ask.Handover = lock.Handover{To: target.id, Hops: len(target.queue)}
	}
	heeded, err := o.answered(ctx, l, leader, ask)
	if err != nil {
		return "", fmt.Errorf("ask %s to step down: %w", leader.ID, err)
	}
	if !heeded {
		return fmt.Sprintf("%s does not answer: it is frozen, cut off, too busy or of an older version; nothing was changed, and it leads %s as long as its lease lasts", leader.ID, o.name), errNotAsAsked
	}
	ask.Sure = true
	still := time.AfterFunc(stillAfter, func() {
		fmt.Fprintf(os.Stderr, "leaderrun: %s steps down; waiting for who leads next (--wait bounds that)\n", printable(leader.ID))
	})
	next, err := o.successor(ctx, l, leader, ask)
	still.Stop()
	if err != nil {
		return "", fmt.Errorf("%s steps down, nobody leads yet: %w", leader.ID, err)
	}
	said := fmt.Sprintf("%s leads %s with fencing token %d", next.ID, o.name, next.Token)
	if next.ID == leader.ID && next.Host == leader.Host && next.PID == leader.PID || target.id != "" && next.ID != target.id {
		return said, errNotAsAsked
	}
	return said, nil
}

// A handOver is who may lead next.
type handOver struct {
	queue []standby
	id    string // of the one that --to names, "" if it names none
}

// parties finds out who leads and who is to lead next.
func (o *stepDownOptions) parties(ctx context.Context, l lock.Locker) (leader lock.Holder, h handOver, err error) {
	err = look(ctx, func(ctx context.Context) error {
		e, err := statusOf(ctx, o.name, l)
		if err == nil && e.Leader != nil {
			leader = *e.Leader
		}
		h.queue = e.Standbys
		return err
	})
	if err != nil || o.to == "" {
		return leader, h, err
	}
	all := append([]standby{{leader.ID, leader.Host, leader.PID, leader.Since}}, h.queue...)
	found := slices.DeleteFunc(slices.Clone(all), func(s standby) bool { return !strings.HasPrefix(s.ID, o.to) })
	if exact := slices.IndexFunc(found, func(s standby) bool { return s.ID == o.to }); exact >= 0 {
		found = found[exact : exact+1]
	}
	if len(found) > 1 {
		return leader, h, usagef("--to %s: %s begin with that: give more of the id", o.to, standbys(found))
	}
	if len(found) == 1 {
		h.id = found[0].ID
	}
	return leader, h, nil
}

// answered asks, and waits for the leader's word or the end of its tenure. It asks again
// every now and then: somebody else's request, and its answer, may have taken our place.
func (o *stepDownOptions) answered(ctx context.Context, l lock.Locker, leader lock.Holder, ask supervisor.StepDown) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	seen := false // the store, at the latest look, and in it no answer
	for n := 0; ; n++ {
		var answered bool
		var err error
		if n%askAgain == 0 {
			err = l.Ask(limited, ask.Request(leader.Token))
		}
		if err == nil {
			answered, err = ask.Answered(limited, l)
		}
		if err == nil && !answered {
			var now lock.Holder
			now, err = l.Holder(limited)
			answered = err == nil && now.Token != leader.Token
		}
		switch {
		case answered:
			return true, nil
		case err != nil && !errors.Is(err, lock.ErrUnavailable) && limited.Err() == nil:
			return false, err
		case limited.Err() == nil:
			seen = err == nil
		}
		select {
		case <-limited.Done():
			switch {
			case ctx.Err() != nil:
				return false, context.Cause(ctx)
			case !seen:
				return false, cmp.Or(err, lock.ErrUnavailable)
			}
			return false, nil
		case <-time.After(lookAgain):
		}
	}
}

// successor asks for good, also again, and waits until somebody else leads, or the same
// one anew. Whoever leads in place of the one that is meant counts only after a while: it
// may be about to pass the lock on.
func (o *stepDownOptions) successor(ctx context.Context, l lock.Locker, leader lock.Holder, ask supervisor.StepDown) (lock.Holder, error) {
	var seen lock.Token
	var since time.Time
	answered := time.Now()
	for n := 0; ; n++ {
		var next lock.Holder
		err := look(ctx, func(ctx context.Context) (err error) {
			if next, err = l.Holder(ctx); err == nil && next.Token == leader.Token && n%askAgain == 0 {
				err = l.Ask(ctx, ask.Request(leader.Token))
			}
			return err
		})
		if next.Token != seen {
			seen, since = next.Token, time.Now()
		}
		switch {
		case err == nil && next.Token > leader.Token && (ask.To == "" || next.ID == ask.To || time.Since(since) > passesWithin):
			return next, nil
		case err == nil:
			answered = time.Now()
		case ctx.Err() == nil && (!errors.Is(err, lock.ErrUnavailable) || time.Since(answered) > awayFor):
			return next, err
		}
		select {
		case <-ctx.Done():
			return lock.Holder{}, context.Cause(ctx)
		case <-time.After(lookAgain):
		}
	}
}
