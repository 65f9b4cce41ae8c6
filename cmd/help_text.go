//go:build unix

package cmd

import "strings"

// The texts of help and completion; those of topics are in help/.

const (
	overviewFoot = `All flags: leaderrun help flags. Each is a variable too: --ttl is LEADERRUN_TTL.`

	helpExamples = `  leaderrun help stores
  leaderrun help check`

	takesAll = "It also takes every flag of a run: see leaderrun help flags."

	flagsHead = `leaderrun flags: all flags of a run

Each can be set by a variable, which the flag beats: --stop-timeout by
LEADERRUN_STOP_TIMEOUT. D is a duration: 15s, 500ms, 1m30s.`

	flagsFoot = `PERIOD is a duration that divides an hour, from 1m (--schedule: any from 1s), or
five cron fields, or @hourly, @daily, @weekly, @monthly, @yearly. CMD is for
/bin/sh -c. --version prints the version, --help an overview.`

	completionShort = "Write the script that completes leaderrun's command line"

	completionLong = `Writes to standard output a script for bash (with its package bash-completion),
zsh or fish. It completes flags, their values, and COMMAND after --.`

	completionExamples = `  source <(leaderrun completion bash)
  leaderrun completion zsh >"${fpath[1]}/_leaderrun"
  leaderrun completion fish >~/.config/fish/completions/leaderrun.fish`

	dashMeaning = "the command follows"
)

func helpLong() string {
	var b strings.Builder
	b.WriteString("Topics:\n\n")
	for _, t := range topics {
		b.WriteString("  " + t.name + strings.Repeat(" ", 13-len(t.name)) + t.short + "\n")
	}
	return b.String() + "  flags        every flag of a run"
}
