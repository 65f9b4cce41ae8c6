//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// refused asserts that a candidate with wrong credentials says so in one clear
// line and exits with 77, soon.
func (e *election) refused(s spec, mentions string) {
	e.t.Helper()
	s.id = "a"
	a := e.start(s)
	a.exits(e.t, 77, 10*time.Second)
	var said []string
	for _, l := range a.logs() {
		if l.get("level") == "ERROR" || l.get("level") == "WARN" {
			said = append(said, fmt.Sprint(l))
		}
	}
	if len(said) != 1 || !strings.Contains(said[0], mentions) {
		e.t.Errorf("want one line of warning or error that mentions %q, got %d:\n%s", mentions, len(said), strings.Join(said, "\n"))
	}
}

// A wrong password, or none, ends leaderrun: it would be wrong the next time too.
func TestPassword(t *testing.T) {
	t.Parallel()
	const right, wrong = "right-s3cret", "wrong-s3cret"
	s := ownEtcd(t, servers.EtcdOptions{User: "leader", Password: right})
	file := func(t *testing.T, content string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ user, password string }{
		"wrong password": {"leader", wrong},
		"unknown user":   {"nobody", right},
	} {
		t.Run(name, func(t *testing.T) {
			e := newElection(t, s)
			e.refused(spec{flags: []string{"--user", c.user, "--password-file", file(t, c.password+"\n")}}, "--password-file")
			secretNowhere(t, e, c.password)
		})
	}
	t.Run("no user", func(t *testing.T) {
		newElection(t, s).refused(spec{}, "--user")
	})
	t.Run("right", func(t *testing.T) {
		e := newElection(t, s)
		a := e.start(spec{id: "a", flags: []string{"--user", "leader", "--password-file", file(t, right+"\n")}, ttl: 3 * time.Second})
		first := e.leads(a, nil)
		a.theGuard(t)
		secretNowhere(t, e, right)
		// It renews, and the guard gives the lease back.
		e.goesOn(first, 4*time.Second)
		b := e.start(spec{id: "b", env: []string{"LEADERRUN_USER=leader", "LEADERRUN_PASSWORD_FILE=" + file(t, right)}})
		b.standsBehind(t, "a", patient)
		a.signal(t, 9)
		e.handedOver(first, e.leads(b, first), prompt)
	})
}

// secretNowhere asserts that a secret is in no log, no arguments and no
// environment, the guard's and the child's included.
func secretNowhere(t *testing.T, e *election, secret string) {
	t.Helper()
	for _, c := range e.candidates {
		if strings.Contains(readFile(c.log)+readFile(c.out), secret) {
			t.Errorf("the secret is in the log of %s", c.id)
		}
	}
	for _, p := range processes(t) {
		place := strings.Join(append(p.args, environOf(p.pid)...), "\x00")
		if strings.Contains(place, secret) && p.pid != os.Getpid() && !strings.Contains(p.args[0], "etcdctl") {
			t.Errorf("the secret is in the arguments or environment of %d %v", p.pid, p.args)
		}
	}
}

// A wrong certificate on either side ends leaderrun.
func TestCertificates(t *testing.T) {
	t.Parallel()
	s, other := ownEtcd(t, servers.EtcdOptions{TLS: true}), ownEtcd(t, servers.EtcdOptions{TLS: true})
	ca, cert, key := s.etcd.CA(), s.etcd.ClientCert(), s.etcd.ClientKey()
	for name, c := range map[string]struct {
		flags    []string
		mentions string
	}{
		"another authority's server": {[]string{"--tls-ca", other.etcd.CA(), "--tls-cert", cert, "--tls-key", key}, "--tls-ca"},
		"another authority's client": {[]string{"--tls-ca", ca, "--tls-cert", other.etcd.ClientCert(), "--tls-key", other.etcd.ClientKey()}, "--tls-cert"},
		"no client certificate":      {[]string{"--tls-ca", ca}, "--tls-cert"},
		"the system's authorities":   {[]string{"--tls-cert", cert, "--tls-key", key}, "--tls-ca"},
		"another name":               {[]string{"--tls-ca", ca, "--tls-cert", cert, "--tls-key", key, "--tls-server-name", "other.example"}, "--tls-server-name"},
	} {
		t.Run(name, func(t *testing.T) {
			newElection(t, s).refused(spec{flags: append(c.flags, "--tls")}, c.mentions)
		})
	}
	t.Run("right", func(t *testing.T) {
		e := newElection(t, s)
		flags := []string{"--tls", "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key, "--tls-server-name", "localhost"}
		a := e.start(spec{id: "a", ttl: 3 * time.Second, flags: flags})
		first := e.leads(a, nil)
		e.goesOn(first, 4*time.Second)
		b := e.start(spec{id: "b", flags: flags})
		b.standsBehind(t, "a", patient)
		a.theGuard(t)
		a.signal(t, 9)
		e.handedOver(first, e.leads(b, first), prompt)
	})
}
