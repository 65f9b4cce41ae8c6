//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
)

// noteRun appends "NANOSECONDS WORD TICK ATTEMPT TOKEN CANDIDATE", the word being
// begin or end.
func noteRun(o options, word string) {
	if o.logRuns == "" || o.role != roleMain {
		return
	}
	f, err := os.OpenFile(o.logRuns, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		fail("log run", err)
	}
	_, err = fmt.Fprintf(f, "%d %s %s %s %s %s\n", now(), word, orDash("LEADERRUN_TICK"), orDash("LEADERRUN_ATTEMPT"),
		orDash("LEADERRUN_FENCING_TOKEN"), orDash("LEADERRUN_CANDIDATE"))
	if err := errors.Join(err, f.Close()); err != nil {
		fail("log run", err)
	}
}
