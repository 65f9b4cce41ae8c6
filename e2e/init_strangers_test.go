//go:build linux

package e2e

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who is left behind in the container by somebody else, as `docker exec` does, is
// reaped when it ends, and goes with the container.
func TestProcessOneReapsStrangers(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	a, pid1 := e.inContainer(t, spec{id: "a", command: e.tame()})
	e.leads(a, nil)
	supervisor, _ := below1(t, pid1)
	leavesDaemon(t, pid1, supervisor, func(command ...string) *exec.Cmd {
		argv := append([]string{"--target", strconv.Itoa(pid1), "--pid", "--"}, command...)
		return exec.Command("nsenter", argv...)
	})
	kill(t, unix.SIGTERM, pid1)
	a.exits(t, 128+15, prompt)
}

// leavesDaemon has a process in the container leave a daemon that ends soon, and
// asserts that process 1 reaps it, and then another that does not end.
func leavesDaemon(t testing.TB, pid1, supervisor int, inside func(command ...string) *exec.Cmd) {
	t.Helper()
	leave := func(life time.Duration) {
		t.Helper()
		out, err := inside(childBin, "--daemon", "--exit", "0", "--life", life.String()).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		waitFor(t, "process 1 to adopt the daemon", patient, func() bool { return len(zombiesAndChildren(t, pid1)) > 1 })
	}
	leave(time.Second)
	waitFor(t, "the daemon to be reaped", patient, func() bool {
		return slices.Equal(zombiesAndChildren(t, pid1), []int{supervisor})
	})
	leave(time.Minute)
}

// zombiesAndChildren are all children, in contrast to childrenOf.
func zombiesAndChildren(t testing.TB, pid int) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	must(t, err)
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if p, ok := readProc(child); err == nil && ok && p.ppid == pid {
			pids = append(pids, child)
		}
	}
	return pids
}

// What else leaderrun can be called for is the same as process 1.
func TestProcessOneOtherCommands(t *testing.T) {
	t.Parallel()
	needsPIDNS(t)
	s := fileStore(t)
	variables := []string{"LEADERRUN_STORE=" + s.url, "LEADERRUN_NAME=other", "LEADERRUN_LOG_LEVEL=error"}
	for name, c := range map[string]struct {
		env    []string
		args   []string
		status int
		says   string
	}{
		"help":       {nil, []string{"--help"}, 0, "Usage:"},
		"version":    {nil, []string{"--version"}, 0, "leaderrun version"},
		"no command": {nil, []string{"--store", "file:", "--name", "x"}, 64, "no command"},
		"check":      {variables, []string{"check"}, 0, "exit status 0"},
		"not found":  {variables, []string{"--", "/no/such"}, 127, "/no/such"},
		"variables":  {variables, []string{"--", childBin, "--exit", "3"}, 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			cmd := exec.CommandContext(ctx, unshare[0], slices.Concat(unshare[1:], []string{leaderrunBin}, c.args)...)
			cmd.Env = append(cleanEnv(), c.env...)
			out, _ := cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); status != c.status || !strings.Contains(string(out), c.says) {
				t.Errorf("status %d, want %d, and to say %q:\n%s", status, c.status, c.says, out)
			}
		})
	}
}
