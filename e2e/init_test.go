//go:build linux

package e2e

import (
	"fmt"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// inContainer starts a candidate as process 1 of a process namespace, as a Docker
// entrypoint is. It skips where that may not be made.
func (e *election) inContainer(t *testing.T, s spec) (init *candidate, pid1 int) {
	t.Helper()
	unshare := []string{"--pid", "--fork", "--kill-child", "--mount-proc", "--"}
	if out, err := exec.Command("unshare", append(unshare, "true")...).CombinedOutput(); err != nil {
		without(t, "pidns", fmt.Errorf("%w: %s", err, out))
	}
	s.via = func(name string, args ...string) *exec.Cmd {
		return exec.Command("unshare", append(append(unshare, name), args...)...)
	}
	init = e.start(s)
	waitFor(t, "process 1", patient, func() bool {
		for _, p := range childrenOf(t, init.pid) {
			if isLeaderrun(p) {
				pid1 = p.pid
			}
		}
		return pid1 != 0
	})
	return init, pid1
}

// As process 1 leaderrun does what it does elsewhere.
func TestProcessOne(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		e := newElection(t, s)
		a, pid1 := e.inContainer(t, spec{id: "a", command: e.tame("--term-exit", "5", "--fork", "--daemon")})
		first := e.leads(a, nil, everyRole...)
		b := e.start(spec{id: "b", command: e.wild()})
		b.standsBehind(t, "a", patient)
		kill(t, unix.SIGTERM, pid1)
		a.exits(t, 5, patient)
		second := e.leads(b, first, everyRole...)
		e.handedOver(first, second, prompt)

		c, _ := e.inContainer(t, spec{id: "c", command: e.child("--signal", "SEGV", "--after", "300ms", "--fork", "--daemon")})
		c.standsBehind(t, "b", patient)
		b.signal(t, unix.SIGKILL)
		c.exits(t, 128+11, patient)
		e.handedOver(second, e.of(c), prompt)
	})
}
