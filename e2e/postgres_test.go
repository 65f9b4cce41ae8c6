//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A postgres is a PostgreSQL server of Debian's package, on a socket in a
// directory of its own.
type postgres struct {
	t   *testing.T
	env []string // by which psql finds it
}

// startPostgres takes no root from whoever has it: the server refuses that.
func startPostgres(t *testing.T) postgres {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		without(t, "postgres", errors.New("no /usr/lib/postgresql: install Debian's postgresql"))
	}
	bin := filepath.Dir(slices.Max(found))
	dir := t.TempDir()
	openUp(t, dir)
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		must(t, err)
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		must(t, errors.Join(uerr, gerr, os.Chown(dir, int(uid), int(gid))))
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	run := func(name string, args ...string) *candidate {
		log := filepath.Join(t.TempDir(), name)
		c := &candidate{id: name, log: log, done: make(chan struct{}), cmd: exec.Command(filepath.Join(bin, name), args...)}
		c.cmd.Dir, c.cmd.Env, c.cmd.SysProcAttr = dir, cleanEnv(), attr
		c.cmd.Stdout, c.cmd.Stderr = appendTo(t, log), appendTo(t, log)
		must(t, c.run())
		return c
	}
	data := filepath.Join(dir, "data")
	run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "--no-instructions").exits(t, 0, patient)
	server := run("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-F")
	t.Cleanup(func() {
		server.signal(t, unix.SIGQUIT) // its children end at once
		waitFor(t, "postgres to end", patient, server.ended)
		if t.Failed() {
			log, _ := os.ReadFile(server.log)
			t.Logf("postgres: %s", log)
		}
	})
	p := postgres{t: t, env: []string{"PGHOST=" + dir, "PGUSER=postgres", "PGDATABASE=postgres"}}
	waitFor(t, "postgres to answer", patient, func() bool { _, err := p.try("SELECT 1"); return err == nil })
	return p
}

// psql is a client that reads standard input, and ends at the first error.
func (p postgres) psql(args ...string) *exec.Cmd {
	c := exec.CommandContext(p.t.Context(), "psql", append([]string{"-qAtX", "-v", "ON_ERROR_STOP=1"}, args...)...)
	c.Env = append(cleanEnv(), p.env...)
	return c
}

func (p postgres) try(query string) (string, error) {
	out, err := p.psql("-c", query).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", query, err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// ask returns a query's rows, one a line.
func (p postgres) ask(query string) string {
	p.t.Helper()
	out, err := p.try(query)
	must(p.t, err)
	return out
}
