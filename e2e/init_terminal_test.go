//go:build linux

package e2e

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Process 1 that leads the session of a terminal, as under `docker run -it`: Ctrl-C
// reaches the child, once, and Ctrl-Z, after which nobody would continue anything,
// stops nothing for good.
func TestProcessOneTerminal(t *testing.T) {
	t.Parallel()
	eachStore(t, func(s *store) {
		t := s.t
		const ttl = 3 * time.Second
		e := newElection(t, s)
		master, slave := openPTY(t)
		x := &terminal{t: t, e: e, master: master}
		gone := make(chan struct{})
		go x.listen(gone)
		// setsid becomes process 1 and then leaderrun.
		a, pid1 := e.inContainer(t, spec{
			id: "a", ttl: ttl, command: e.tame("--ignore-term"), setup: func(c *exec.Cmd) { c.Stdin = slave },
		}, "setsid", "--ctty")
		t.Cleanup(func() {
			_ = master.Close()
			<-gone
		})
		_ = slave.Close()
		first := e.leads(a, nil)
		x.types(ctrlC)
		waitFor(t, "the child to get Ctrl-C", patient, func() bool { return len(e.signalsReceived()) > 0 })
		x.types(ctrlZ)
		pass(200 * time.Millisecond)
		e.beatsAgain(first)
		e.goesOn(first, 2*ttl)
		e.childGot(first, "SIGINT")
		x.types(ctrlC)
		waitFor(t, "the child to get Ctrl-C again", patient, func() bool {
			n := 0
			for _, r := range e.signalsReceived() {
				if r.name == "SIGINT" {
					n++
				}
			}
			return n == 2
		})
		kill(t, unix.SIGTERM, pid1)
		kill(t, unix.SIGTERM, pid1)
		a.exits(t, 128+9, patient)
	})
}
