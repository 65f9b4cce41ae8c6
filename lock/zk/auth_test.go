package zk

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// refused asserts that a campaign fails with that kind, at once and in one line
// that names the cure.
func (r *rig) refused(settings lock.Settings, kind error, words ...string) {
	r.Helper()
	began := time.Now()
	_, err := r.openWith(settings).Locker("e").Acquire(r.Context(), lock.Candidate{ID: "a", TTL: testTTL})
	if took := time.Since(began); took > prompt {
		r.Errorf("took %v", took)
	}
	r.Logf("%v", err)
	r.tells(err, kind, words...)
}

func (r *rig) tells(err, kind error, words ...string) {
	r.Helper()
	if !errors.Is(err, kind) {
		r.Errorf("%v; want %v", err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.Errorf("%q lacks %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "sesame") {
		r.Errorf("%q", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ZooKeeperOptions{TLS: true, Fast: true})
	good := r.settings()
	a := r.lead(r.open(), "a")
	b := r.standBy(r.open(), "b")
	a.Release()
	r.must(b.Wins(prompt).Release(t.Context()))

	other := newRig(t, servers.ZooKeeperOptions{TLS: true, Fast: true})
	bad := good
	bad.TLSCA = other.zoo.CA()
	r.refused(bad, lock.ErrDenied, "--tls-ca", "unknown authority")
	bad = good
	bad.TLSServerName = "elsewhere.example"
	r.refused(bad, lock.ErrDenied, "--tls-server-name", "elsewhere.example")
	bad = good
	bad.TLSCert, bad.TLSKey = other.zoo.ClientCert(), other.zoo.ClientKey()
	r.refused(bad, lock.ErrDenied, "--tls-cert")
	bad.TLSCert, bad.TLSKey = "", ""
	r.refused(bad, lock.ErrDenied, "--tls-cert")
	bad.TLSCA = ""
	r.refused(bad, lock.ErrConfig, "add --tls")

	plain := fast(t)
	bad = good
	bad.URL = plain.settings().URL
	plain.refused(bad, lock.ErrConfig, "does not speak TLS")
}

func TestServerCertificates(t *testing.T) {
	for flaw, word := range map[servers.ServerCert]string{
		servers.ServerCertExpired: "expired", servers.ServerCertOtherHost: "192.0.2.1", servers.ServerCertSelfSigned: "--tls-ca",
	} {
		t.Run(string(flaw), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, servers.ZooKeeperOptions{TLS: true, ServerCert: flaw, Fast: true})
			r.refused(r.settings(), lock.ErrDenied, word)
		})
	}
}

// Something else than ZooKeeper answers.
func TestNotZooKeeper(t *testing.T) {
	r := &rig{T: t}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	defer l.Close() //nolint:errcheck // a test
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n")
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	s := lock.Settings{URL: lock.URL{Scheme: "zk", Hosts: []string{l.Addr().String()}}}
	r.refused(s, lock.ErrConfig, "--store")
}

func TestUsers(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ZooKeeperOptions{User: "admin", Password: "opensesame", Fast: true})
	nobody := r.settings()
	r.refused(nobody, lock.ErrDenied, `"c" on / is missing`, "--user", "--password-file", "nobody is logged in")

	// Who has no permission above needs none once the prefix is there.
	r.leastPrivileged()
	good := r.settings()
	a := r.lead(r.open(), "a")
	b := r.standBy(r.open(), "b")
	a.Survives(2, testTTL)
	a.Release()
	b.Wins(prompt)
	acl, _, err := r.admin.GetACL("/leaderrun/e/record")
	r.must(err)
	if want := zk.DigestACL(zk.PermAll, "runner", "sesame"); len(acl) != 1 || acl[0] != want[0] {
		t.Errorf("ACL of what we make: %+v, want creator-all", acl)
	}

	r.refused(nobody, lock.ErrDenied, `on /leaderrun/e/queue is missing`, "nobody is logged in")
	bad := good
	bad.PasswordFile = r.secret("closesesame")
	r.refused(bad, lock.ErrDenied, `user "runner"`, "--password-file", "a wrong password")
	bad = good
	bad.User = "guest"
	r.refused(bad, lock.ErrDenied, `user "guest"`)
	if h, err := r.openWith(bad).Locker("e").Holder(t.Context()); !errors.Is(err, lock.ErrDenied) {
		t.Errorf("holder: %+v, %v", h, err)
	}
	b.Release()

	// With less than is needed, the line names what is missing.
	for perms, letter := range map[int32]string{
		zk.PermRead | zk.PermWrite | zk.PermDelete:   `"c"`,
		zk.PermWrite | zk.PermDelete | zk.PermCreate: `"r"`,
	} {
		_, err := r.admin.SetACL("/leaderrun/e/queue", zk.DigestACL(perms, "runner", "sesame"), -1)
		r.must(err)
		r.refused(good, lock.ErrDenied, letter+" on /leaderrun/e/queue is missing")
	}
}

// A password that is changed while a candidate stands by is read for the next
// connection, and if it is wrong that is said.
func TestPasswordChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ZooKeeperOptions{User: "admin", Password: "opensesame", Fast: true})
	r.leastPrivileged()
	p := servers.NewProxy(t, r.zoo.Endpoints()[0])
	a := r.lead(r.open(), "a")
	b := r.standBy(r.open(p.Addr()), "b")
	r.must(os.WriteFile(r.passwordFile, []byte("closesesame\n"), 0o600))
	b.Waits(500 * time.Millisecond)
	p.Reset()
	within(t, "b to give up", testTTL, b.Done)
	t.Log(b.Err)
	r.tells(b.Err, lock.ErrDenied, "runner", "--password-file")
	r.must(os.WriteFile(r.passwordFile, []byte("sesame\n"), 0o600))
	a.Survives(1, testTTL)
	a.Release()
	r.lead(r.open(p.Addr()), "c").Release()
}

// A server may have digest users turned off, or ask for a login.
func TestEnforcedAuth(t *testing.T) {
	r := newRig(t, servers.ZooKeeperOptions{Fast: true, Conf: []string{"enforce.auth.enabled=true", "enforce.auth.schemes=digest"}})
	r.refused(r.settings(), lock.ErrDenied, "--user")
	r.user, r.passwordFile = "anybody", r.secret("sesame")
	r.lead(r.open(), "a").Release()
}

// The path of the URL is made as it is needed.
func TestPrefix(t *testing.T) {
	r := fast(t)
	s := r.settings()
	s.URL.Path = "/a/b c/ü"
	a := r.lead(r.openWith(s), "a")
	if there, _, err := r.admin.Exists("/a/b c/ü/e/record"); !there || err != nil {
		t.Errorf("no record: %v", err)
	}
	a.Release()
	_, err := r.admin.Create("/ephemeral", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	r.must(err)
	s.URL.Path = "/ephemeral"
	r.refused(s, lock.ErrConfig, "--store")
}
