package consul

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// refused asserts that a first campaign fails with that kind, at once and in one
// line that names the cure and no secret.
func (r *rig) refused(settings lock.Settings, kind error, words ...string) {
	r.Helper()
	began := time.Now()
	_, err := r.openWith(settings).Locker("e").Acquire(r.Context(), lock.Candidate{ID: "a", TTL: testTTL})
	if took := time.Since(began); took > prompt {
		r.Errorf("took %v", took)
	}
	r.Logf("%v", err)
	if !errors.Is(err, kind) {
		r.Errorf("%v; want %v", err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.Errorf("%q lacks %q", err, w)
		}
	}
	r.oneLine(err)
}

func (r *rig) oneLine(err error) {
	r.Helper()
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "sesame") {
		r.Errorf("%q", err)
	}
	if secret, _ := os.ReadFile(r.token); len(secret) > 1 && strings.Contains(err.Error(), strings.TrimSpace(string(secret))) {
		r.Errorf("%q holds the token", err)
	}
}

func TestTLS(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{TLS: true})
	good := r.settings()
	a := r.lead(r.open(), "a")
	b := r.standBy(r.open(), "b")
	a.Release()
	r.must(b.Wins(prompt).Release(t.Context()))

	other := newRig(t, servers.ConsulOptions{TLS: true})
	bad := good
	bad.TLSCA = other.consul.CA()
	r.refused(bad, lock.ErrDenied, "--tls-ca", "unknown authority")
	bad = good
	bad.TLSServerName = "elsewhere.example"
	r.refused(bad, lock.ErrDenied, "--tls-server-name", "elsewhere.example")
	bad = good
	bad.TLSCert, bad.TLSKey = other.consul.ClientCert(), other.consul.ClientKey()
	r.refused(bad, lock.ErrDenied, "--tls-cert")
	bad.TLSCert, bad.TLSKey = "", ""
	r.refused(bad, lock.ErrDenied, "--tls-cert")
	bad.TLSCA = ""
	r.refused(bad, lock.ErrConfig, "add --tls")

	plain := newRig(t, servers.ConsulOptions{})
	bad = good
	bad.URL = plain.settings().URL
	plain.refused(bad, lock.ErrConfig, "does not speak TLS", "CONSUL_HTTP_SSL")
}

// Certificates that a client must not accept.
func TestServerCertificates(t *testing.T) {
	for flaw, word := range map[servers.ServerCert]string{
		servers.ServerCertExpired: "expired", servers.ServerCertOtherHost: "--tls-server-name", servers.ServerCertSelfSigned: "--tls-ca",
	} {
		t.Run(string(flaw), func(t *testing.T) {
			r := &rig{T: t, consul: servers.StartConsul(t, servers.ConsulOptions{TLS: true, ServerCert: flaw})}
			r.refused(r.settings(), lock.ErrDenied, word)
		})
	}
}

// A client certificate that is replaced while its holder leads is used by the next
// connection.
func TestRotatedCertificate(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{TLS: true})
	settings := r.settings()
	cert, err := os.ReadFile(settings.TLSCert)
	r.must(err)
	key, err := os.ReadFile(settings.TLSKey)
	r.must(err)
	settings.TLSCert, settings.TLSKey = r.file("cert", string(cert)), r.file("key", string(key))
	p := servers.NewProxy(t, r.consul.Endpoints()[0])
	settings.URL.Hosts = []string{p.Addr()}
	a := r.lead(r.openWith(settings), "a")
	r.must(os.WriteFile(settings.TLSCert, []byte("not yet"), 0o600))
	p.Reset()
	n := a.Hears(lock.RenewalFailing, testTTL)
	t.Log(n.Err)
	if !strings.Contains(n.Err.Error(), "--tls-cert") {
		t.Errorf("%v", n.Err)
	}
	r.must(os.WriteFile(settings.TLSCert, cert, 0o600))
	a.Survives(2, testTTL)
}

func TestTokens(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{ACL: true})
	with := func(rules string) lock.Settings {
		_, token, err := r.consul.NewToken(rules)
		r.must(err)
		s := r.settings()
		s.ACLTokenFile = r.file("token", token)
		return s
	}
	const keys, sessions = `key_prefix "leaderrun/" { policy = "write" }`, `session "leaderrun" { policy = "write" }`
	const node = `node "leaderrun" { policy = "write" }`

	bad := r.settings()
	bad.ACLTokenFile = ""
	r.refused(bad, lock.ErrDenied, "--acl-token-file", sessions)
	bad.ACLTokenFile = r.file("wrong", "0f5b2b3c-5e0c-4b0e-8d0a-5e5a5e5a5e5a")
	r.refused(bad, lock.ErrDenied, "--acl-token-file", "does not know")
	r.refused(with(keys), lock.ErrDenied, sessions, node)
	r.refused(with(keys+sessions), lock.ErrDenied, node) // nobody has made the node yet
	r.refused(with(sessions+node), lock.ErrDenied, keys)
	r.refused(with(sessions+node+` key_prefix "leaderrun/" { policy = "read" }`), lock.ErrDenied, keys)
	r.refused(with(sessions+node+` key_prefix "leaderrun/other/" { policy = "write" }`), lock.ErrDenied, keys)
	if n := len(r.sessions()); n != 0 {
		t.Errorf("%d sessions left", n)
	}

	// Just enough; the node is there now; and on the agent's, with a warning.
	for _, rules := range []string{leastPrivilege, keys + sessions} {
		a := r.lead(r.openWith(with(rules)), "a")
		if len(a.Notices()) != 0 {
			t.Errorf("notices: %v", a.Notices())
		}
		a.Release()
	}
	a := r.lead(r.openWith(with(keys+` session "n0" { policy = "write" }`)), "a")
	n := a.Hears(lock.Warning, prompt)
	t.Log(n.Err)
	if !strings.Contains(n.Err.Error(), sessions) {
		t.Errorf("warning %q", n.Err)
	}
	a.Release()
	// Consul's own variables, in Consul's order.
	_, token, err := r.consul.NewToken(leastPrivilege)
	r.must(err)
	s := r.settings()
	s.ACLTokenFile = ""
	t.Setenv("CONSUL_HTTP_TOKEN", token)
	r.lead(r.openWith(s), "a").Release()
	t.Setenv("CONSUL_HTTP_TOKEN", "wrong")
	r.refused(s, lock.ErrDenied, "CONSUL_HTTP_TOKEN")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", r.file("token", token))
	r.lead(r.openWith(s), "a").Release()
}

// A token that is revoked in mid-tenure ends that at its deadline, not later, and
// people are told why.
func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{ACL: true})
	accessor, token, err := r.consul.NewToken(leastPrivilege)
	r.must(err)
	settings := r.settings()
	settings.ACLTokenFile = r.file("doomed", token)
	a := r.lead(r.openWith(settings), "a")
	b := r.start(r.openWith(settings), "b")
	b.Hears(lock.StandingBy, prompt)
	c := r.standBy(r.open(), "c")
	a.Survives(1, testTTL)
	r.must(r.consul.DeleteToken(accessor))
	for _, run := range []*run{a, b} {
		n := run.Hears(lock.RenewalFailing, testTTL)
		t.Log(n.Err)
		if !errors.Is(n.Err, lock.ErrDenied) || !strings.Contains(n.Err.Error(), "--acl-token-file") {
			t.Errorf("%v", n.Err)
		}
		r.oneLine(n.Err)
	}
	a.expires()
	within(t, "b to give up", testTTL, b.Done)
	t.Log(b.Err)
	if !errors.Is(b.Err, lock.ErrUnavailable) { // the next campaign is told the rest
		t.Errorf("b: %v", b.Err)
	}
	r.refused(settings, lock.ErrDenied, "--acl-token-file")
	c.Waits(0)
	c.Wins(2*testTTL + lock.SettleTime)
}

// A token that is replaced in its file is used from then on; the tenure goes on, and
// so does the wait.
func TestTokenRotated(t *testing.T) {
	t.Parallel()
	r := newRig(t, servers.ConsulOptions{ACL: true})
	accessor, token, err := r.consul.NewToken(leastPrivilege)
	r.must(err)
	settings := r.settings()
	settings.ACLTokenFile = r.file("token", token)
	a := r.lead(r.openWith(settings), "a")
	b := r.standBy(r.openWith(settings), "b")
	a.Survives(1, testTTL)

	_, next, err := r.consul.NewToken(leastPrivilege)
	r.must(err)
	r.must(os.WriteFile(settings.ACLTokenFile, nil, 0o600)) // as it is written anew
	n := a.Hears(lock.RenewalFailing, testTTL)
	t.Log(n.Err)
	if !errors.Is(n.Err, lock.ErrUnavailable) || !strings.Contains(n.Err.Error(), "--acl-token-file") {
		t.Errorf("%v", n.Err)
	}
	r.must(os.WriteFile(settings.ACLTokenFile, []byte(next+"\n"), 0o600))
	r.must(r.consul.DeleteToken(accessor))
	a.Survives(5, 2*testTTL)
	b.Waits(0)
	a.Release()
	b.Wins(prompt)
	b.Survives(1, testTTL)
}

// Places that are not there.
func TestPlaces(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{Agents: 1})
	for param, words := range map[string][]string{"ns": {"?ns=", "Enterprise"}, "partition": {"?partition=", "Enterprise"}} {
		s := r.settings()
		s.URL.Params = map[string][]string{param: {"x"}}
		r.refused(s, lock.ErrConfig, words...)
	}
	s := r.settings()
	s.URL.Params = map[string][]string{"dc": {"nowhere"}}
	r.refused(s, lock.ErrUnavailable, "?dc=", "nowhere")
	s.URL.Params = map[string][]string{"dc": {"dc1"}}
	r.lead(r.openWith(s), "a").Release()
}
