//go:build linux

package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// tlsFlags are those of a client that the servers trust and that trusts them.
func (s *store) tlsFlags() []string {
	return []string{"--tls-ca", s.CA(), "--tls-cert", s.ClientCert(), "--tls-key", s.ClientKey()}
}

// A wrong certificate on either side ends leaderrun; the right ones serve it, and
// its guard.
func TestCertificates(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		s, other := own(t, k, serverOptions{tls: true}), own(t, etcdKind, serverOptions{tls: true})
		ca, cert, key := s.CA(), s.ClientCert(), s.ClientKey()
		for name, c := range map[string]struct {
			flags    []string
			mentions string
		}{
			"another authority's server": {[]string{"--tls-ca", other.CA(), "--tls-cert", cert, "--tls-key", key}, "--tls-ca"},
			"another authority's client": {[]string{"--tls-ca", ca, "--tls-cert", other.ClientCert(), "--tls-key", other.ClientKey()}, "--tls-cert"},
			"no client certificate":      {[]string{"--tls-ca", ca}, "--tls-cert"},
			"the system's authorities":   {[]string{"--tls-cert", cert, "--tls-key", key}, "--tls-ca"},
			"another name":               {append(s.tlsFlags(), "--tls-server-name", "other.example"), "--tls-server-name"},
		} {
			t.Run(name, func(t *testing.T) {
				newElection(t, s.in(t)).refused(spec{flags: append(c.flags, "--tls")}, c.mentions)
			})
		}
		t.Run("right", func(t *testing.T) {
			e := newElection(t, s.in(t))
			flags := append(s.tlsFlags(), "--tls", "--tls-server-name", "localhost")
			a := e.start(spec{id: "a", ttl: 3 * time.Second, flags: flags})
			first := e.leads(a, nil)
			e.goesOn(first, 4*time.Second)
			b := e.start(spec{id: "b", flags: flags})
			b.standsBehind(t, "a", patient)
			a.theGuard(t)
			a.signal(t, unix.SIGKILL)
			e.handedOver(first, e.leads(b, first), prompt)
		})
	})
}

// A server whose certificate is not in order is not talked to.
func TestServerCertificates(t *testing.T) {
	t.Parallel()
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		for flaw, mentions := range map[servers.ServerCert]string{
			servers.ServerCertExpired:    "expired",
			servers.ServerCertOtherHost:  "--tls-server-name",
			servers.ServerCertSelfSigned: "--tls-ca",
		} {
			t.Run(string(flaw), func(t *testing.T) {
				s := own(t, k, serverOptions{tls: true, cert: flaw})
				newElection(t, s).refused(spec{flags: s.tlsFlags()}, mentions)
			})
		}
	})
}

// A client's certificate is replaced before it expires, while its owner leads. When
// the connection breaks after that, the same child goes on over one with the new
// certificate, and the guard gives back with it too.
func TestCertificateRotated(t *testing.T) {
	t.Parallel()
	const life = 8 * time.Second
	eachNetworkStore(t, func(n network) {
		t, k := n.t, n.kind
		s := own(t, k, serverOptions{tls: true})
		ttl := k.lease(3 * time.Second)
		e := newElection(t, s)
		proxy := servers.NewProxy(t, s.Endpoints()[0])
		cert, key := filepath.Join(e.dir, "cert.pem"), filepath.Join(e.dir, "key.pem")
		must(t, s.NewClientCert(cert, key, life))
		expired := now().add(life + time.Second) // certificates know no fractions
		flags := []string{"--tls-ca", s.CA(), "--tls-cert", cert, "--tls-key", key}
		a := e.start(spec{id: "a", ttl: ttl, store: s.at(proxy.Addr()), flags: flags, command: e.tame()})
		first := e.leads(a, nil)
		must(t, s.NewClientCert(cert+".new", key+".new", time.Hour))
		replaceFile(t, key, key+".new")
		replaceFile(t, cert, cert+".new")
		e.goesOn(first, expired.since(now()))
		proxy.Reset()
		e.goesOn(first, ttl+time.Second)
		b := e.start(spec{id: "b", flags: s.tlsFlags()})
		b.standsBehind(t, "a", patient)
		a.theGuard(t)
		a.signal(t, unix.SIGKILL)
		e.handedOver(first, e.leads(b, first), prompt)
	})
}
