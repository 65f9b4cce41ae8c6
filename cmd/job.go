//go:build unix

package cmd

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"leaderrun/lock"
	"leaderrun/supervisor"
	"leaderrun/supervisor/schedule"
)

// jobOptions are the settings of what is run during a tenure, and when.
type jobOptions struct {
	oncePer, onceFor, schedule string
	rerun                      string
	attempts                   int
	catchUp                    duration
	restart                    string
	restartLimit               int
	healthCommand              string
	healthInterval             duration
	healthRetries              int
	onElected, onLost          string
	hookTimeout                duration
	due                        *schedule.Schedule // of oncePer or schedule, filled in by check
}

func (o *jobOptions) bind(f *pflag.FlagSet) {
	o.healthInterval = duration(10 * time.Second)
	f.StringVar(&o.oncePer, "once-per", "", usage["once-per"])
	f.StringVar(&o.onceFor, "once-for", "", usage["once-for"])
	f.StringVar(&o.schedule, "schedule", "", usage["schedule"])
	f.StringVar(&o.rerun, "rerun", string(supervisor.RerunInterrupted), usage["rerun"])
	f.IntVar(&o.attempts, "attempts", 3, usage["attempts"])
	f.Var(&o.catchUp, "catch-up", usage["catch-up"])
	f.StringVar(&o.restart, "restart", string(supervisor.RestartNo), usage["restart"])
	f.IntVar(&o.restartLimit, "restart-limit", 5, usage["restart-limit"])
	f.StringVar(&o.healthCommand, "health-command", "", usage["health-command"])
	f.Var(&o.healthInterval, "health-interval", usage["health-interval"])
	f.IntVar(&o.healthRetries, "health-retries", 3, usage["health-retries"])
	f.StringVar(&o.onElected, "on-elected", "", usage["on-elected"])
	f.StringVar(&o.onLost, "on-lost", "", usage["on-lost"])
	f.Var(&o.hookTimeout, "hook-timeout", usage["hook-timeout"])
	for _, name := range []string{"catch-up", "hook-timeout"} {
		f.Lookup(name).DefValue = ""
	}
}

// withoutJob empties the variables of these flags that are set: another leaderrun
// in the command is not to take this one's job for its own, nor its address.
func (o *jobOptions) withoutJob() (env []string) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(jobOptions).bind(flags)
	flags.String("listen", "", "")
	flags.VisitAll(func(f *pflag.Flag) {
		if os.Getenv(variable(f.Name)) != "" {
			env = append(env, variable(f.Name)+"=")
		}
	})
	return env
}

// maxShell bounds a command that has to fit the guard's pipe.
const maxShell = 16 << 10

// check refuses what is not to be understood, or would do nothing.
func (o *jobOptions) check(f *pflag.FlagSet) (err error) {
	var modes []string
	for _, name := range []string{"once-per", "once-for", "schedule"} {
		if f.Changed(name) {
			modes = append(modes, "--"+name)
		}
	}
	if o.restart != string(supervisor.RestartNo) {
		modes = append(modes, "--restart")
	}
	if len(modes) > 1 {
		return usagef("%s and %s exclude each other: give one of them", modes[0], modes[1])
	}
	recorded := f.Changed("once-per") || f.Changed("once-for") || f.Changed("schedule")
	needs := func(flag, other string, there bool) {
		if err == nil && f.Changed(flag) && !there {
			err = usagef("--%s means nothing without %s", flag, other)
		}
	}
	needs("rerun", "--once-per, --once-for or --schedule", recorded)
	needs("attempts", "--once-per, --once-for or --schedule", recorded)
	needs("catch-up", "--schedule", f.Changed("schedule"))
	needs("restart-limit", "--restart on-failure or always", o.restart != string(supervisor.RestartNo))
	needs("health-interval", "--health-command", o.healthCommand != "")
	needs("health-retries", "--health-command", o.healthCommand != "")
	needs("hook-timeout", "--on-elected or --on-lost", o.onElected+o.onLost != "")
	if err != nil {
		return err
	}
	if err = oneOf("rerun", o.rerun); err != nil {
		return err
	}
	if err = oneOf("restart", o.restart); err != nil {
		return err
	}
	for flag, n := range map[string]int{"attempts": o.attempts, "restart-limit": o.restartLimit, "health-retries": o.healthRetries} {
		if n < 1 {
			return usagef("--%s %d: give a number from 1", flag, n)
		}
	}
	for flag, command := range map[string]string{"health-command": o.healthCommand, "on-elected": o.onElected, "on-lost": o.onLost} {
		switch {
		case f.Changed(flag) && strings.TrimSpace(command) == "":
			return usagef("--%s is empty: give a command for /bin/sh -c", flag)
		case len(command) > maxShell:
			return usagef("--%s is longer than %d bytes: put it into a script", flag, maxShell)
		}
	}
	if o.healthInterval < duration(100*time.Millisecond) {
		return usagef("--health-interval %v is too short: give a duration from 100ms", time.Duration(o.healthInterval))
	}
	if f.Changed("hook-timeout") && o.hookTimeout < leastHook {
		return usagef("--hook-timeout %v leaves no time for a hook: give a duration such as 2s", time.Duration(o.hookTimeout))
	}
	return o.checkTicks(f)
}

func (o *jobOptions) checkTicks(f *pflag.FlagSet) (err error) {
	switch {
	case f.Changed("once-per"):
		if o.due, err = schedule.Parse(o.oncePer, time.Local); err != nil {
			return usagef("--once-per: %w", err)
		}
	case f.Changed("schedule"):
		if o.due, err = schedule.ParseAny(o.schedule, time.Local); err != nil {
			return usagef("--schedule: %w", err)
		}
	case f.Changed("once-for"):
		bad := func(r rune) bool { return !unicode.IsPrint(r) || r == '"' || r == '\\' } // JSON writes as more bytes
		if o.onceFor == "" || len(o.onceFor) > supervisor.MaxKey || !utf8.ValidString(o.onceFor) || strings.ContainsFunc(o.onceFor, bad) {
			return usagef("--once-for %q: give 1 to %d bytes of text without quotes, backslashes and characters that do not print", o.onceFor, supervisor.MaxKey)
		}
	}
	return nil
}

// fits refuses a hook that could never run, grace being the loss grace in force, and
// fills in the default.
func (o *jobOptions) fits(grace duration) error {
	if o.hookTimeout == 0 {
		if o.hookTimeout = grace / 2; o.onLost == "" {
			o.hookTimeout = max(o.hookTimeout, duration(time.Second))
		}
	}
	if o.onLost != "" && (o.hookTimeout > grace || o.hookTimeout < leastHook) {
		return fmt.Errorf("%w: --hook-timeout %v does not fit into --loss-grace %v, so that --on-lost would be skipped when renewals fail: "+
			"lower --hook-timeout, or raise --loss-grace and --ttl", lock.ErrConfig, time.Duration(o.hookTimeout), time.Duration(grace))
	}
	return nil
}

// leastHook is what a shell may take to start on a busy machine.
const leastHook = duration(100 * time.Millisecond)

// quiet reports whether a run in which nothing went wrong should print nothing,
// because a cron mails whatever it prints.
func (o *options) quiet() bool { return o.try || o.onceFor != "" || o.due != nil }

// job is what a tenure is for.
func (o *jobOptions) job() supervisor.Job {
	if o.due == nil && o.onceFor == "" {
		return supervisor.Job{}
	}
	return supervisor.Job{
		Key: o.onceFor, Schedule: o.due, Repeat: o.schedule != "",
		Rerun: supervisor.Rerun(o.rerun), Attempts: o.attempts, CatchUp: time.Duration(o.catchUp),
	}
}

func (o *jobOptions) health() supervisor.Health {
	if o.healthCommand == "" {
		return supervisor.Health{}
	}
	return supervisor.Health{Command: o.healthCommand, Interval: time.Duration(o.healthInterval), Retries: o.healthRetries}
}
