//go:build unix

package supervisor

import (
	"fmt"
	"time"
)

// A Restart says when the command is started again within a tenure.
type Restart struct {
	Policy RestartPolicy
	Limit  int // failures in a row after which somebody else is to lead
}

// A RestartPolicy is one of systemd's, see systemd.service(5).
type RestartPolicy string

// The policies.
const (
	RestartNo        RestartPolicy = "no"
	RestartOnFailure RestartPolicy = "on-failure" // an exit status other than 0
	RestartAlways    RestartPolicy = "always"
)

func (r Restart) wants(status int) bool {
	return r.Policy == RestartAlways || r.Policy == RestartOnFailure && status != 0
}

// serve runs the command, again and again if the settings say so.
func (t *tenure) serve() ending {
	if !t.onElected() {
		return t.abandoned()
	}
	for again := t.newRestarts(); ; {
		res := t.child()
		if end, over := t.over(res); over {
			return end
		}
		status := res.ExitCode()
		out := childEnded(res)
		if out.Interrupt || !t.Restart.wants(status) {
			return ends(out, t.why(res))
		}
		pause, ok := again.after(status)
		if !ok {
			t.giveUp(fmt.Sprintf("the command failed %d times in a row, the last time with status %d", again.failures, status))
			return ending{last: t.cause}
		}
		t.Listen(Event{Kind: Restarting, Token: t.lease.Token(), Status: status, Left: pause})
		if !t.wait(pause) {
			return t.abandoned()
		}
	}
}

// Pauses before a restart: the first, and the longest of those that double. What
// ran for stableAfter counts as started anew.
const (
	firstRestart = 250 * time.Millisecond
	lastRestart  = 30 * time.Second
	stableAfter  = time.Minute
)

// restarts counts the ends of the command in one tenure.
type restarts struct {
	limit    int
	failures int // in a row
	pause    time.Duration
	started  time.Time
}

func (t *tenure) newRestarts() *restarts {
	return &restarts{limit: t.Restart.Limit, pause: firstRestart, started: time.Now()}
}

// after is told how the command ended, and returns the pause before the next start,
// or that it has failed often enough.
func (r *restarts) after(status int) (pause time.Duration, ok bool) {
	if time.Since(r.started) >= stableAfter {
		r.failures, r.pause = 0, firstRestart
	}
	if r.failures++; status == 0 {
		r.failures = 0
	}
	if r.failures >= r.limit {
		return 0, false
	}
	pause = r.pause
	r.pause = min(2*r.pause, lastRestart)
	r.started = time.Now().Add(pause)
	return pause, true
}
