//go:build linux

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The command line's behaviours, each with the reason why it is so, are in
// testdata/scripts. Two commands are added to testscript's own:
//
//	exits STATUS REGEXP COMMAND...   runs it; standard error must match
//	refuses STATUS REGEXP COMMAND... the same, in one line and with no output
//
// $CONTROL is a name with a control character.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("..", "testdata", "scripts"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(leaderrunBin)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("CONTROL", "a\x01b")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "refuses": refuses},
	})
}

func refuses(ts *testscript.TestScript, neg bool, args []string) {
	exits(ts, neg, args)
	if n := strings.Count(ts.ReadFile("stderr"), "\n"); n != 1 {
		ts.Fatalf("%d lines on standard error, want one", n)
	}
	if ts.ReadFile("stdout") != "" {
		ts.Fatalf("standard output is not empty")
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: exits STATUS REGEXP COMMAND...")
	}
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec("timeout", append([]string{"--foreground", "--kill-after=1", "20"}, args[2:]...)...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	default:
		ts.Check(err)
	}
	if got != status {
		ts.Fatalf("exited with %d, want %d", got, status)
	}
	if !want.MatchString(ts.ReadFile("stderr")) {
		ts.Fatalf("standard error does not match %q", args[1])
	}
}
