//go:build linux

package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// An access is how a kind of store knows who may do something.
type access struct {
	flag   string                // names the file of the secret
	flags  []string              // besides that one
	secret func(s *store) string // a right one
	wrong  func(s *store) string // one that the store does not know
	hint   string                // the flag that is named where there is no login at all
}

// login returns the flags for a secret in a file.
func (a access) login(file string) []string { return append(slices.Clone(a.flags), a.flag, file) }

// refused asserts that a candidate with wrong credentials says so in one clear
// line and exits with 77, soon.
func (e *election) refused(s spec, mentions ...string) {
	e.t.Helper()
	s.id = "a"
	a := e.start(s)
	a.exits(e.t, 77, 10*time.Second)
	said := a.complaints()
	e.t.Logf("%v", said)
	for _, word := range mentions {
		if len(said) != 1 || !strings.Contains(said[0], word) {
			e.t.Errorf("want one line of warning or error that mentions %q, got %d:\n%s", word, len(said), strings.Join(said, "\n"))
		}
	}
}

// complaints returns the warnings and errors of a candidate.
func (c *candidate) complaints() []string {
	var said []string
	for _, l := range c.logs() {
		if l.get("level") == "ERROR" || l.get("level") == "WARN" {
			said = append(said, fmt.Sprint(l))
		}
	}
	return said
}

// A wrong password or token, or none, ends leaderrun: it would be wrong the next
// time too. With the right one it leads, renews and gives back, and keeps it to
// itself.
func TestCredentials(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		s := own(t, k, serverOptions{secured: true})
		t.Run("wrong", func(t *testing.T) {
			e := newElection(t, s.in(t))
			wrong := k.access.wrong(s)
			e.refused(spec{flags: k.access.login(secretFile(t, wrong))}, k.access.flag)
			e.secretNowhere(wrong)
		})
		t.Run("none", func(t *testing.T) {
			newElection(t, s.in(t)).refused(spec{}, k.access.hint)
		})
		if slices.Contains(k.access.flags, "--user") {
			t.Run("unknown user", func(t *testing.T) {
				file := secretFile(t, k.access.secret(s))
				newElection(t, s.in(t)).refused(spec{flags: []string{"--user", "nobody", k.access.flag, file}}, "nobody")
			})
		}
		t.Run("right", func(t *testing.T) {
			s := s.in(t)
			e := newElection(t, s)
			secret := k.access.secret(s)
			a := e.start(spec{id: "a", flags: k.access.login(secretFile(t, secret)), ttl: 3 * time.Second})
			first := e.leads(a, nil)
			// It renews, and the guard gives the lease back.
			e.goesOn(first, 4*time.Second)
			var env []string
			for flag, value := range pairs(k.access.login(secretFile(t, secret))) {
				env = append(env, "LEADERRUN_"+strings.ToUpper(strings.ReplaceAll(flag[2:], "-", "_"))+"="+value)
			}
			b := e.start(spec{id: "b", env: env})
			b.standsBehind(t, "a", patient)
			e.secretNowhere(secret)
			a.signal(t, unix.SIGKILL)
			second := e.leads(b, first)
			e.handedOver(first, second, prompt)
			e.secretNowhere(secret)
		})
	})
}

// pairs goes through flags and their values.
func pairs(flags []string) func(yield func(flag, value string) bool) {
	return func(yield func(flag, value string) bool) {
		for pair := range slices.Chunk(flags, 2) {
			if !yield(pair[0], pair[1]) {
				return
			}
		}
	}
}

// A token is deleted while its owner leads: the tenure ends in time, with a line
// that says why, another leads, and the owner gives up.
func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	s := own(t, consulKind, serverOptions{secured: true})
	consul := s.server.(*servers.Consul)
	accessor, token, err := consul.NewToken(leastPrivilege)
	must(t, err)
	e := newElection(t, s)
	a, b, first := e.pair(
		spec{ttl: ttl, flags: s.access.login(secretFile(t, token)), command: e.wild()},
		spec{ttl: ttl, flags: s.access.login(secretFile(t, s.access.secret(s)))}, everyRole...)
	renewed(ttl)
	must(t, consul.DeleteToken(accessor))
	e.diedInTime(first, now(), ttl)
	e.handedOver(first, e.leads(b, first), s.takeover(ttl))
	a.exits(t, 77, patient)
	if said := a.complaints(); !slices.ContainsFunc(said, func(l string) bool { return strings.Contains(l, s.access.flag) }) {
		t.Errorf("no line mentions %s: %v", s.access.flag, said)
	}
	e.secretNowhere(token)
}

// Secrets are replaced while their owners lead and stand by, first in the file:
// the same child goes on, and the guard gives back with the new one.
func TestSecretRotated(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	rotate := func(t *testing.T, s *store, change func(t *testing.T, file string) (secret string)) {
		t.Helper()
		file := secretFile(t, s.access.secret(s))
		if s.kind == consulKind {
			file = secretFile(t, "") // change fills it for the first time too
			change(t, file)
		}
		e := newElection(t, s)
		a, b, first := e.pair(
			spec{ttl: ttl, flags: s.access.login(file), command: e.tame()},
			spec{ttl: ttl, flags: s.access.login(file)})
		secret := change(t, file)
		e.goesOn(first, 2*ttl)
		e.secretNowhere(secret)
		a.signal(t, unix.SIGKILL)
		e.handedOver(first, e.leads(b, first), prompt)
	}
	t.Run("etcd", func(t *testing.T) {
		s := own(t, etcdKind, serverOptions{secured: true})
		rotate(t, s, func(t *testing.T, file string) string {
			t.Helper()
			const fresh = "fresh-s3cret"
			replaceFile(t, file, secretFile(t, fresh))
			s.changePassword(fresh)
			return fresh
		})
	})
	t.Run("consul", func(t *testing.T) {
		s := own(t, consulKind, serverOptions{secured: true})
		consul := s.server.(*servers.Consul)
		var old string
		rotate(t, s, func(t *testing.T, file string) string {
			t.Helper()
			accessor, token, err := consul.NewToken(leastPrivilege)
			must(t, err)
			replaceFile(t, file, secretFile(t, token))
			if old != "" {
				must(t, consul.DeleteToken(old))
			}
			old = accessor
			return token
		})
	})
}

// The password is changed, but not in the file, while one leads and one stands by:
// the tree dies in time, and both say what is wrong and exit.
func TestPasswordChanged(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	s := own(t, etcdKind, serverOptions{secured: true})
	e := newElection(t, s)
	flags := s.access.login(secretFile(t, s.access.secret(s)))
	a, b, first := e.pair(spec{ttl: ttl, flags: flags, command: e.wild()}, spec{ttl: ttl, flags: flags}, everyRole...)
	renewed(ttl)
	s.changePassword("fresh-s3cret")
	e.diedInTime(first, now(), ttl)
	for _, c := range []*candidate{a, b} {
		c.exits(t, 77, patient)
		if said := c.complaints(); !slices.ContainsFunc(said, func(l string) bool { return strings.Contains(l, s.access.flag) }) {
			t.Errorf("%s: no line mentions %s: %v", c.id, s.access.flag, said)
		}
	}
}

// changePassword is for an etcd with users. Nobody administrates it any more after
// that.
func (s *store) changePassword(password string) {
	s.t.Helper()
	bin, err := servers.Bin("etcdctl")
	must(s.t, err)
	cmd := exec.Command(bin, "user", "passwd", etcdUser, "--interactive=false")
	cmd.Env, cmd.Stdin = s.server.(*servers.Etcd).CtlEnv(), strings.NewReader(password+"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("change the password: %v\n%s", err, out)
	}
}
