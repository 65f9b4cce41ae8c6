//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Supervisor, guard, sentinel and child are frozen past the deadline, as by
// `docker pause` or `systemctl freeze` on a host with cgroups v2: as near to a
// suspended machine as one gets on one that must not sleep. The guard's kernel
// timer ends guard and child while they are frozen, the other leads, and the
// frozen one campaigns again when it wakes.
func TestFrozenCgroup(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	eachStore(t, func(s *store) {
		t := s.t
		group := newCgroup(t) // outlives the election
		e := newElection(t, s)
		a := e.start(spec{id: "a", ttl: ttl, setup: group.setup(t)})
		first := e.leads(a, nil)
		b := e.start(spec{id: "b", ttl: ttl})
		b.standsBehind(t, "a", patient)
		guard, main := a.theGuard(t), first.mains[0]
		renewed(ttl)
		fault := group.freeze(t)
		defer group.thaw(t)
		for what, pid := range map[string]int{"guard": guard, "child": main} {
			waitFor(t, "the frozen "+what+" to be dead", patient, func() bool {
				state := stateOf(pid)
				return state == "Z" || state == ""
			})
		}
		if took := now().since(fault); took > ttl {
			t.Errorf("guard and child died %v after they were frozen, the lease of %v was over", took, ttl)
		}
		second := e.leads(b, first)
		e.handedOver(first, second, s.takeover(ttl))
		if first.last > fault {
			t.Errorf("a beat %v after the freeze", first.last.since(fault))
		}
		group.thaw(t)
		a.standsBehind(t, "b", patient)
	})
}

// thawsEnv is how many rounds TestWindowAfterThaw takes, few unless it is set.
const thawsEnv = "LEADERRUN_TEST_THAWS"

// A freezer stops processes with everything around them.
type freezer interface {
	freeze(t testing.TB) instant
	thaw(t testing.TB)
}

// What nobody can prevent: a whole tree is stopped together with all that could end
// it, past its deadline. It takes no step meanwhile; how long after the thaw it
// still does is measured here, by the last beat of any of its processes. A machine
// that wakes, a virtual machine that goes on, and `docker pause` with cgroups v1,
// where not even SIGKILL is obeyed, are such thaws. There is no standby here, and
// so no overlap.
func TestWindowAfterThaw(t *testing.T) {
	const ttl = 2 * time.Second
	rounds, err := strconv.Atoi(os.Getenv(thawsEnv))
	if err != nil {
		rounds = 3
	}
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			var windows []time.Duration
			for range rounds {
				windows = append(windows, windowAfterThaw(t, version, ttl))
			}
			slices.Sort(windows)
			t.Logf("last beat after the thaw: median %v, the longest %v of %d", windows[rounds/2], windows[rounds-1], rounds)
			if longest := windows[rounds-1]; longest > prompt {
				t.Errorf("a beat %v after the thaw", longest)
			}
		})
	}
}

// windowAfterThaw is one round; 0 if no beat came after the thaw.
func windowAfterThaw(t *testing.T, version string, ttl time.Duration) (window time.Duration) {
	t.Helper()
	t.Run("round", func(t *testing.T) {
		group := newCgroup(t)
		var f freezer = group
		if version == "v1" {
			f = newFreezer(t)
		}
		e := newElection(t, fileStore(t))
		a := e.start(spec{id: "a", ttl: ttl, command: e.wild(), setup: group.setup(t)})
		first := e.leads(a, nil, everyRole...)
		if v1, ok := f.(freezerV1); ok {
			v1.add(t, a.pid)
			for _, p := range slices.Concat(childrenOf(t, a.pid), treeOf(t, e.dir)) {
				v1.add(t, p.pid)
			}
		}
		frozen := f.freeze(t)
		defer f.thaw(t)
		pass(ttl + time.Second)
		e.history.read(t)
		if first.last > frozen {
			t.Errorf("a beat %v after the freeze", first.last.since(frozen))
		}
		thawed := now()
		f.thaw(t)
		waitFor(t, "the tree to be dead", patient, func() bool { return len(e.aliveOf(first)) == 0 })
		e.history.read(t)
		window = max(0, first.last.since(thawed))
	})
	return window
}

// A freezerV1 is a directory of the freezer of cgroups v1 (cgroups(7)).
type freezerV1 string

func newFreezer(t testing.TB) freezerV1 {
	t.Helper()
	dir := filepath.Join("/sys/fs/cgroup/freezer", cgroupName())
	if err := os.Mkdir(dir, 0o700); err != nil {
		without(t, "freezer", err)
	}
	t.Cleanup(func() {
		waitFor(t, "the freezer to be removed", patient, func() bool { return os.Remove(dir) == nil })
	})
	return freezerV1(dir)
}

func (f freezerV1) add(t testing.TB, pid int) {
	t.Helper()
	f.write(t, "cgroup.procs", strconv.Itoa(pid))
}

func (f freezerV1) freeze(t testing.TB) instant {
	t.Helper()
	f.write(t, "freezer.state", "FROZEN")
	waitFor(t, "the freezer", patient, func() bool {
		return strings.TrimSpace(readFile(filepath.Join(string(f), "freezer.state"))) == "FROZEN"
	})
	return now()
}

func (f freezerV1) thaw(t testing.TB) {
	t.Helper()
	f.write(t, "freezer.state", "THAWED")
}

func (f freezerV1) write(t testing.TB, file, value string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(string(f), file), []byte(value), 0o600))
}
