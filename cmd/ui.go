//go:build unix

package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"leaderrun/lock"
	"leaderrun/supervisor"
)

// Every text for people that is not an error about one setting stands here.
//
// Rules: a log line is one transition, its message two or three words that
// never change, all else in keys; keys are election, candidate, fencing_token,
// store, version, pid, status, left, cause. An error is one line that names
// the setting and the cure.

const (
	short = "Run a command only while this host is the leader"

	long = `leaderrun runs COMMAND, unmodified, only while this host leads an election, kills
its whole process tree before the lease can run out, and campaigns again. Start
the same line on several hosts: one of them runs the command, the others stand by.

COMMAND finds in its environment LEADERRUN_ELECTION, LEADERRUN_CANDIDATE and
LEADERRUN_FENCING_TOKEN, a number that rises with every tenure; in a job also
LEADERRUN_TICK, when it was due, and LEADERRUN_ATTEMPT.`

	examples = `  leaderrun --store etcd://h1:2379,h2:2379 --name billing -- ./billing
  leaderrun --store file: --name backup --try -- ./backup.sh
  leaderrun --store consul: --name report --once-per 1h -- ./report`

	// overviewFlags are those that people need; the rest is in help flags.
	overviewFlags = `  --store URL           where candidates meet: file:, etcd:, consul: or zk:
  --name NAME           the election
  --ttl D               what the loss of a host costs (default 15s)
  --wait D, --try       give up when not elected in that time, or at once
  --once-per PERIOD     run it once per PERIOD, called by a cron on each host
  --schedule PERIOD     be the cron: run it every PERIOD
  --restart on-failure  start it again where it has failed`
)

// usage has the help line of each flag.
var usage = map[string]string{
	"store":              "where candidates meet: file:, etcd:, consul: or zk:, or such as etcd://HOST:PORT,.../PREFIX (required)",
	"name":               "the election (required)",
	"id":                 "this candidate's name for people (default HOST/PID)",
	"ttl":                "the lease: how long the loss of a host leaves nobody leading",
	"loss-grace":         "while renewals fail: send the stop signal this long before the deadline (default a third of --ttl, at most 5s and what the lease leaves)",
	"wait":               "give up campaigning after this time (default never)",
	"try":                "do not wait: one attempt",
	"conflict-exit-code": "exit status when not elected in that time",
	"exit-on-loss":       "exit 76 after a lost tenure instead of campaigning again",
	"stop-signal":        "what SIGTERM to leaderrun becomes for the child",
	"stop-timeout":       "between the stop signal and SIGKILL when leaderrun is told to stop",
	"once-per":           "cron calls us on each host: run the command at most once per tick in the election; a duration or five cron fields",
	"once-for":           "run the command at most once for this key, ever: a release, a migration",
	"schedule":           "be the cron: run the command at each tick while leading; a duration or five cron fields",
	"rerun":              "what is run again, by whoever leads",
	"attempts":           "starts of one tick, or for one key, in all",
	"catch-up":           "with --schedule: run the latest missed tick if it is no older than this",
	"restart":            "start the command again where it has ended",
	"restart-limit":      "failures in a row after which another host is to lead",
	"health-command":     "command for /bin/sh -c that fails when the command is unhealthy; another host is then to lead",
	"health-interval":    "from one check to the next, which has to end by then",
	"health-retries":     "failed checks in a row that count",
	"on-elected":         "command for /bin/sh -c before the command starts; if it fails, another host is to lead",
	"on-lost":            "command for /bin/sh -c once the command's tree is dead, if the lease lasts long enough",
	"hook-timeout":       "how long each of the two may take (default half of --loss-grace, at least 1s without --on-lost)",
	"label":              "in every log line and metric",
	"listen":             "serve /metrics, /leader and /healthz here; :PORT is this host's loopback (default off)",
	"log-format":         "of what is logged on standard error",
	"log-level":          "log this and worse",
	"tls":                "connect with TLS (implied by the flags below)",
	"tls-ca":             "file of certificates to trust",
	"tls-cert":           "file of the client certificate",
	"tls-key":            "file of its key",
	"tls-server-name":    "the name that the server's certificate must bear",
	"user":               "user to log in as; its password comes from --password-file or the store's own variable",
	"password-file":      "file that holds the password",
	"acl-token-file":     "file that holds Consul's ACL token",
	"json":               "for programs; with --watch a line for each change",
	"watch":              "go on, and tell what changes",
	"to":                 "who is to lead: what its id begins with, such as its host (default whoever is next)",
	"step-down wait":     "give up after this time (default never)",
	"fencing-token":      "the tenure (default that of the job)",
}

// narrator writes the events of one run to its log.
type narrator struct {
	log         *slog.Logger
	unavailable atomic.Int64 // when it was last said that the store is, in nanoseconds; 0 if it was not since
}

// repeatAfter is how often a warning stands in the log whose cause does not go away.
const repeatAfter = time.Minute

func (n *narrator) tell(e supervisor.Event) {
	switch e.Kind {
	case supervisor.Renewed, supervisor.Waiting, supervisor.Stopping, supervisor.TickKnown:
		return
	}
	level, message, args := line(e)
	switch e.Kind {
	case supervisor.Unavailable:
		now, last := time.Now().UnixNano(), n.unavailable.Load()
		if last != 0 && now-last < int64(repeatAfter) {
			level = slog.LevelDebug
		} else {
			n.unavailable.Store(now)
		}
	case supervisor.Campaigning:
		if n.unavailable.Load() != 0 {
			level = slog.LevelDebug
		}
	case supervisor.StandingBy, supervisor.Elected:
		n.unavailable.Store(0)
	}
	if e.Token != 0 {
		args = append(args, "fencing_token", e.Token)
	}
	if e.Cause != "" {
		args = append(args, "cause", e.Cause)
	}
	if e.Err != nil {
		args = append(args, "cause", oneLine(e.Err))
	}
	n.log.Log(context.Background(), level, message, args...) //nolint:sloglint // line has only constants
}

// line is what the log says of an event, with the keys that only it has.
func line(e supervisor.Event) (level slog.Level, message string, args []any) {
	switch e.Kind {
	case supervisor.Campaigning:
		return slog.LevelInfo, "campaigning", nil
	case supervisor.Unavailable:
		if !errors.Is(e.Err, lock.ErrUnavailable) {
			return slog.LevelWarn, "campaign failed", []any{"retry_in", rounded(e.Left)}
		}
		return slog.LevelWarn, "store unavailable", []any{"retry_in", rounded(e.Left)}
	case supervisor.StandingBy:
		if e.Holder.Token == 0 {
			return slog.LevelDebug, "standing by", []any{"leader", ""}
		}
		return slog.LevelInfo, "standing by", []any{
			"leader", e.Holder.ID, "leader_host", e.Holder.Host, "leader_token", e.Holder.Token,
		}
	case supervisor.Elected:
		return slog.LevelInfo, "elected", nil
	case supervisor.ChildStarted:
		return slog.LevelInfo, "child started", []any{"pid", e.PID}
	case supervisor.RenewalFailing:
		return slog.LevelWarn, "renewal failing", []any{"left", rounded(e.Left)}
	case supervisor.Renewing:
		return slog.LevelInfo, "renewing again", nil
	case supervisor.Lost:
		return slog.LevelError, "lost", nil
	case supervisor.ChildStopping:
		return slog.LevelInfo, "child stopping", nil
	case supervisor.ChildStopped:
		return slog.LevelInfo, "child stopped", []any{"status", e.Status}
	case supervisor.Unkillable:
		return slog.LevelError, "process cannot be killed", []any{"pid", e.PID}
	case supervisor.Released:
		return slog.LevelInfo, "released", nil
	case supervisor.NotReleased:
		return slog.LevelWarn, "not released", nil
	case supervisor.TickBegan:
		return slog.LevelInfo, "tick started", []any{"tick", e.Tick, "attempt", e.Attempt}
	case supervisor.TickEnded:
		level = slog.LevelWarn
		if e.State == supervisor.StateFinished {
			level = slog.LevelInfo
		}
		return level, "tick ended", []any{"tick", e.Tick, "attempt", e.Attempt, "state", e.State, "status", e.Status}
	case supervisor.TickUnrecorded:
		return slog.LevelError, "end of tick not recorded, it counts as interrupted", []any{"tick", e.Tick}
	case supervisor.TickSkipped:
		return slog.LevelWarn, "tick skipped", []any{"tick", e.Tick}
	case supervisor.TickSettled:
		return slog.LevelInfo, "tick done elsewhere", []any{"tick", e.Tick}
	case supervisor.Restarting:
		return slog.LevelWarn, "restarting", []any{"status", e.Status, "pause", rounded(e.Left)}
	case supervisor.Unhealthy:
		return slog.LevelWarn, "health check failed", []any{"failures", e.Attempt}
	case supervisor.HookFailed:
		return slog.LevelError, "hook failed", nil
	case supervisor.HookSkipped:
		return slog.LevelError, "hook skipped", []any{"left", rounded(e.Left)}
	case supervisor.GivingUp:
		return slog.LevelWarn, "giving up the tenure", nil
	case supervisor.PassedOn:
		return slog.LevelInfo, "passed on", nil
	case supervisor.StandingBack:
		return slog.LevelInfo, "standing back", []any{"for", rounded(e.Left)}
	default:
		return slog.LevelWarn, "needs attention", nil
	}
}

// droppedLine says how many lines nobody will read.
func droppedLine(format string, n int64) []byte {
	if format == "json" {
		return fmt.Appendf(nil, `{"level":"WARN","msg":"log lines dropped","count":%d,"cause":"standard error was full"}`+"\n", n)
	}
	return fmt.Appendf(nil, "leaderrun[%d]: %d log lines were dropped: standard error was full\n", os.Getpid(), n)
}

func rounded(d time.Duration) string { return d.Round(time.Millisecond).String() }

// conclude writes the last line, which says whose the exit status is.
func (n *narrator) conclude(out supervisor.Outcome, o *options) (status int) {
	whose, cause := "leaderrun", ""
	switch out.End {
	case supervisor.ChildEnded:
		status, whose = out.Status, "child"
	case supervisor.Interrupted:
		status, cause = out.Status, "stopped while no command ran"
	case supervisor.NotElected:
		status, cause = o.conflictStatus, "not elected: another candidate leads"
	case supervisor.NoStore:
		status, cause = exitUnavailable, oneLine(out.Err)
	case supervisor.TenureLost:
		status, cause = exitLost, "tenure lost"
	case supervisor.GaveUp:
		status, cause = o.conflictStatus, "gave the tenure up"
	case supervisor.TickOver:
		if status = out.Status; status < 0 {
			status = o.conflictStatus
		}
		cause = "nothing to do for this tick"
	case supervisor.NotStarted:
		status, cause = notStarted(out.Err), "cannot run the command: "+oneLine(out.Err)
	case supervisor.Failed:
		status, cause = exitStatus(out.Err), oneLine(out.Err)
	}
	level := slog.LevelInfo
	switch out.End {
	case supervisor.NoStore, supervisor.TenureLost, supervisor.NotStarted, supervisor.Failed:
		level = slog.LevelError
	}
	args := []any{"status", status, "of", whose}
	if cause != "" {
		args = append(args, "cause", cause)
	}
	n.log.Log(context.Background(), level, "exiting", args...)
	return status
}

// oneLine makes an error fit a line of a log or a terminal.
func oneLine(err error) string {
	return printable(strings.Join(strings.Fields(err.Error()), " "))
}

// printable replaces what could move a terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// shellLine writes a command line so that a shell reads it back.
func shellLine(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsFunc(a, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_=+:,./@%", r)
		}) {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func logLevel(name string) (slog.Level, error) {
	var level slog.Level
	if err := oneOf("log-level", name); err != nil {
		return level, err
	}
	return level, level.UnmarshalText([]byte(name))
}

func checkFormat(name string) error { return oneOf("log-format", name) }

func notExecutable(command string, err error) error {
	return statusError{notStarted(err), fmt.Errorf("cannot run %q: %w", command, err)}
}
