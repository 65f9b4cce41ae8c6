//go:build linux

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// checked is what one `leaderrun check` said.
type checked struct {
	t      testing.TB
	status int
	out    string // standard output
	took   time.Duration
}

// check runs `leaderrun check` with the flags, which must end within a bounded
// time and say nothing on standard error.
func check(t testing.TB, setup func(*exec.Cmd), flags ...string) *checked {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, leaderrunBin, append([]string{"check"}, flags...)...)
	var out, errout bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = cleanEnv(), &out, &errout
	if setup != nil {
		setup(cmd)
	}
	began := time.Now()
	_ = cmd.Run()
	c := &checked{t, cmd.ProcessState.ExitCode(), out.String(), time.Since(began)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("leaderrun check %s\n%s%s", strings.Join(flags, " "), c.out, errout.String())
		}
	})
	if errout.Len() > 0 {
		t.Error("it wrote to standard error")
	}
	return c
}

// says asserts that a line matches. Spaces stand for any number of them.
func (c *checked) says(lines ...string) *checked {
	c.t.Helper()
	for _, line := range lines {
		if !regexp.MustCompile(`(?m)^` + strings.ReplaceAll(line, " ", ` +`)).MatchString(c.out) {
			c.t.Errorf("no line like %q", line)
		}
	}
	return c
}

func (c *checked) exits(status int, limit time.Duration) *checked {
	c.t.Helper()
	if c.status != status || c.took > limit {
		c.t.Errorf("exited with %d after %v, want %d within %v", c.status, c.took, status, limit)
	}
	return c
}

// clean asserts that the check found nothing to complain of.
func (c *checked) clean() *checked {
	c.t.Helper()
	c.exits(0, patient)
	if regexp.MustCompile(`(?m)^(error|warning) `).MatchString(c.out) {
		c.t.Error("it complains")
	}
	return c.says("ok create allowed", "ok read allowed", "ok renew allowed", "ok delete allowed", "ok round trip ", "ok KILL at ")
}

const nobody = 65534

// asNobody runs as a user whom modes stop.
func asNobody(cmd *exec.Cmd) {
	if os.Geteuid() == 0 {
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
}

// openUp makes a directory of the test reachable for nobody.
func openUp(t testing.TB, dir string) {
	t.Helper()
	for path := dir; path != os.TempDir(); path = filepath.Dir(path) {
		must(t, os.Chmod(path, 0o755))
	}
}

// secretFile writes a password or token down.
func secretFile(t testing.TB, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
	return path
}

// hides asserts that a secret is in no line.
func (c *checked) hides(secret string) *checked {
	c.t.Helper()
	if strings.Contains(c.out, secret) {
		c.t.Error("it tells a secret")
	}
	return c
}

// tlsFlags are those for a store with its certificates, the first four without ours.
func tlsFlags(url string, s interface {
	CA() string
	ClientCert() string
	ClientKey() string
},
) []string {
	return []string{"--store", url, "--tls-ca", s.CA(), "--tls-cert", s.ClientCert(), "--tls-key", s.ClientKey()}
}
