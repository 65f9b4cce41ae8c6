//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The unit as it is shipped, on a real systemd, beside a leaderrun that was started
// otherwise. How it can fail: it is called started before it campaigns; systemd signals
// the command beside leaderrun, or kills the guard before that has given the lock back;
// what is left of one start is in the way of the next; nobody ends who stands still;
// what people have to mend is tried for ever.

// eachSystemdStore is for what does not differ by the kind of server.
func eachSystemdStore(t *testing.T, run func(s *store)) {
	t.Helper()
	t.Run("file", func(t *testing.T) { t.Parallel(); run(fileStore(t)) })
	t.Run("etcd", func(t *testing.T) { t.Parallel(); run(shared(t, etcdKind)) })
}

// unitLeads starts the unit, which leads, and a standby beside it.
func (e *election) unitLeads(command []string, dropIn ...string) (h *systemdHost, a, b *candidate, first *tenure) {
	e.t.Helper()
	h, a = e.systemd(spec{id: "a", command: command}, dropIn...)
	h.systemctl("start")
	h.is("ActiveState", "active")
	first = e.leads(a, nil)
	h.is("StatusText", "leads "+e.name+" since ")
	b = e.start(spec{id: "b"})
	b.standsBehind(e.t, "a", patient)
	return h, a, b, first
}

// The command is told to stop, the lock given back at once, and nothing is left.
func TestSystemdStop(t *testing.T) {
	t.Parallel()
	eachSystemdStore(t, func(s *store) {
		e := newElection(s.t, s)
		h, _, b, first := e.unitLeads(e.tame("--fork", "--daemon"))
		h.systemctl("stop")
		h.is("ActiveState", "inactive")
		h.is("Result", "success")
		e.childGot(first, "SIGTERM")
		e.handedOver(first, e.leads(b, first), prompt)
	})
}

// After a restart it stands by: another has taken over. A command that takes its time to
// stop is told so once, and has it.
func TestSystemdRestart(t *testing.T) {
	t.Parallel()
	eachSystemdStore(t, func(s *store) {
		e := newElection(s.t, s)
		h, a, b, first := e.unitLeads(e.wild("--log-signals", e.signals), "Environment=LEADERRUN_STOP_TIMEOUT=2s", "TimeoutStopSec=500ms")
		h.systemctl("restart")
		e.handedOver(first, e.leads(b, first), prompt)
		e.childGot(first, "SIGTERM")
		a.standsBehind(s.t, "b", patient)
		h.is("StatusText", "stands by for "+e.name+"; b leads")
		a.says(s.t, exiting, 1, patient) // of itself, however short TimeoutStopSec is
	})
}

// The supervisor is killed, or stands still until the watchdog kills it: the guard ends
// the tree and gives the lock back, and systemd starts another candidate.
func TestSystemdSupervisorGone(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct {
		signal unix.Signal
		limit  time.Duration
	}{
		"killed":  {unix.SIGKILL, prompt},
		"stopped": {unix.SIGSTOP, 2*time.Second + prompt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachSystemdStore(t, func(s *store) {
				e := newElection(s.t, s)
				h, a, b, first := e.unitLeads(e.wild(), "WatchdogSec=2s")
				supervisor, _ := below1(s.t, h.pid1)
				at := now()
				kill(s.t, fault.signal, supervisor)
				second := e.leads(b, first)
				if took := second.first.since(at); took > fault.limit {
					s.t.Errorf("b led after %v, want %v", took, fault.limit)
				}
				e.handedOver(first, second, prompt)
				a.standsBehind(s.t, "b", patient)
				h.is("ActiveState", "active")
				h.is("NRestarts", "1")
			})
		})
	}
}

// Supervisor and guard are killed in one call: the sentinel ends the tree in the cgroup
// that Delegate= lets leaderrun make; also with the hardening, and as another user.
func TestSystemdBothKilled(t *testing.T) {
	t.Parallel()
	for name, dropIn := range map[string][]string{
		"shipped":  nil,
		"hardened": append(hardening(), "PrivateTmp=no", "ReadWritePaths=/tmp"), // where the tests live
		"user":     {"User=nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newElection(t, fileStore(t))
			for _, dir := range []string{e.dir, filepath.Dir(e.dir), filepath.Dir(e.store.dir)} {
				must(t, os.Chmod(dir, 0o777))
			}
			h, a, b, first := e.unitLeads(e.wild(), dropIn...)
			if in := cgroupOf(e.aliveOf(first)[0].pid); !strings.Contains(in, h.unit+"/leaderrun-") {
				t.Errorf("the tree is in %s", in)
			}
			supervisor, guard := below1(t, h.pid1)
			at := now()
			kill(t, unix.SIGKILL, supervisor, guard)
			second := e.leads(b, first)
			e.diedAtOnce(first, at)
			e.handedOver(first, second, prompt+settling)
			a.standsBehind(t, "b", patient)
		})
	}
}

func hardening() []string { return strings.Split(readFile("../deploy/systemd/hardening.conf"), "\n") }

// What the README says to do, but for the names.
func TestSystemdRecipe(t *testing.T) {
	t.Parallel()
	e := newElection(t, shared(t, etcdKind))
	h, a := e.systemd(spec{id: "a"})
	must(t, os.Remove(filepath.Join(h.dir, "etc/leaderrun", e.name+".env")))
	names := strings.NewReplacer("/usr/local/bin/billing --port 80", strings.Join(e.tame(), " "),
		"billing", e.name, "etcd://h1:2379,h2:2379", e.store.url)
	for command := range strings.Lines(documented(t, "A systemd service, on every host, with the unit that the package brings:")) {
		out, err := h.run("/bin/sh", "-ec", names.Replace(command))
		t.Log(command, out)
		must(t, err)
	}
	e.leads(a, nil)
	h.is("UnitFileState", "enabled")
}

// What only people can mend is not tried again.
func TestSystemdNotRestarted(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	h, _ := e.systemd(spec{id: "a", command: e.child()}, "Environment=LEADERRUN_STOP_TIMEOUT=soon")
	if out, err := h.run("systemctl", "start", h.unit); err == nil {
		t.Errorf("it started: %s", out)
	}
	h.is("ActiveState", "failed")
	h.is("ExecMainStatus", "64")
	h.is("NRestarts", "0")
}

// The units have nothing to complain of.
func TestSystemdVerify(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	h, _ := e.systemd(spec{id: "a", command: e.child()}, hardening()...)
	out, err := h.run("env", "SYSTEMD_UNIT_PATH=/etc/systemd/system", "systemd-analyze", "--man=no", "verify", h.unit)
	if err != nil || out != "" {
		t.Errorf("%v: %s", err, out)
	}
}
