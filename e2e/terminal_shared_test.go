//go:build linux

package e2e

import (
	"strings"
	"testing"
)

// A pipeline and a script share one process group and one terminal. A child that
// took the terminal for a group of its own would have the kernel stop the rest,
// leaderrun among them (TTIN goes to the whole group).

// line is a command line of a candidate for a shell, without its log.
func (e *election) line(id string, command ...string) string {
	return "'" + strings.Join(e.argv(spec{id: id, command: command}), "' '") + "' 2>/dev/null"
}

func TestTerminalPipeline(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	x := e.terminal()
	x.types(e.line("a", "echo", "from the child") + " | (sleep 0.3; echo asking; read x </dev/tty; echo \"typed $x\"; cat)\n")
	x.shows("\r\nasking")
	x.types("something\n")
	x.shows("typed something")
	x.shows("from the child")
	x.shows("ready> ")

	x.types("cat | " + e.line("b", "cat") + "\n")
	x.types("one\n")
	x.shows("one\r\none\r\n") // the terminal's echo, and both cats'
	x.types(ctrlZ)
	x.shows("Stopped")
	x.shows("ready> ")
	x.types("fg\n")
	x.shows("\ncat | ") // bash names the job that it continues
	x.types("two\n")
	x.shows("two\r\ntwo\r\n")
	x.types(ctrlD)
	x.shows("ready> ")
}

// Ctrl-C ends the script and the loop around leaderrun, as it does without.
func TestTerminalInterruptEndsScripts(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	x := e.terminal()
	started := "echo started; exec sleep 1000"
	x.types("bash -c \"" + e.line("a", "sh", "-c", started) + "; echo after it\"\n")
	x.shows("\r\nstarted")
	x.types(ctrlC)
	x.shows("ready> ")
	x.says("echo status=$?", "status=130")

	x.types("for i in 1 2 3; do " + e.line("b", "sh", "-c", started) + "; done\n")
	x.shows("\r\nstarted")
	x.types(ctrlC)
	x.shows("ready> ")
	x.says("echo status=$?", "status=130")
	x.mu.Lock()
	defer x.mu.Unlock()
	if shown := x.shown.String(); strings.Contains(shown, "\r\nafter it") || strings.Count(shown, "\r\nstarted") != 2 {
		t.Error("the script or the loop went on after Ctrl-C")
	}
}

// A script goes on reading the terminal beside a job in its background.
func TestTerminalScriptReads(t *testing.T) {
	t.Parallel()
	e := newElection(t, fileStore(t))
	x := e.terminal()
	x.types("bash -c \"" + e.line("a", "sh", "-c", "echo started; exec sleep 1") + " & sleep 0.3; echo asking; read x; echo typed \\$x; wait\"\n")
	x.shows("\r\nasking")
	x.types("something\n")
	x.shows("typed something")
	x.shows("ready> ")
}
