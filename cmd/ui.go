//go:build unix

package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
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
its whole process tree before the lease can run out, and campaigns again.

Every flag can be set by a variable: --stop-timeout by LEADERRUN_STOP_TIMEOUT.

leaderrun check [flags] tries the settings out and says what it found.`

	examples = `  leaderrun --store file: --name backup -- ./backup.sh
  leaderrun --store etcd://10.0.0.1:2379,10.0.0.2:2379 --name worker -- ./worker
  leaderrun --store file: --name nightly --try -- ./nightly.sh`
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
	"label":              "KEY=VALUE for every log line",
	"log-format":         "text or json, on standard error",
	"log-level":          "debug, info, warn or error",
	"tls":                "connect with TLS (implied by the flags below)",
	"tls-ca":             "file of certificates to trust",
	"tls-cert":           "file of the client certificate",
	"tls-key":            "file of its key",
	"tls-server-name":    "the name that the server's certificate must bear",
	"user":               "user to log in as; its password comes from --password-file or the store's own variable",
	"password-file":      "file that holds the password",
	"acl-token-file":     "file that holds Consul's ACL token",
}

// narrator writes the events of one run to its log.
type narrator struct{ log *slog.Logger }

func (n narrator) tell(e supervisor.Event) {
	level, message, args := line(e)
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
func (n narrator) conclude(out supervisor.Outcome, o *options) (status int) {
	whose, cause := "leaderrun", ""
	switch out.End {
	case supervisor.ChildEnded:
		status, whose = out.Status, "child"
	case supervisor.Interrupted:
		status, cause = out.Status, "stopped while standing by"
	case supervisor.NotElected:
		status, cause = o.conflictStatus, "not elected: another candidate leads"
	case supervisor.NoStore:
		status, cause = exitUnavailable, oneLine(out.Err)
	case supervisor.TenureLost:
		status, cause = exitLost, "tenure lost"
	case supervisor.NotStarted:
		status, cause = notStarted(out.Err), "cannot run the command: "+oneLine(out.Err)
	case supervisor.Failed:
		status, cause = exitStatus(out.Err), oneLine(out.Err)
	}
	level := slog.LevelInfo
	if whose == "leaderrun" && out.End != supervisor.Interrupted && out.End != supervisor.NotElected {
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
	switch name {
	case "debug", "info", "warn", "error":
		return level, level.UnmarshalText([]byte(name))
	}
	return level, usagef("--log-level %s: use debug, info, warn or error", strconv.Quote(name))
}

func checkFormat(name string) error {
	if name != "text" && name != "json" {
		return usagef("--log-format %q: use text or json", name)
	}
	return nil
}

func notExecutable(command string, err error) error {
	return statusError{notStarted(err), fmt.Errorf("cannot run %q: %w", command, err)}
}
