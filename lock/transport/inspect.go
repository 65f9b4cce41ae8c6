package transport

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"leaderrun/lock"
)

// soon is how long before a certificate ends people are told.
const soon = 14 * 24 * time.Hour

// Inspect tells how the links are secured and until when their certificates are
// good. secret: a password or a token goes over them.
func (d Dialer) Inspect(tell lock.Tell, links []*Link, secret bool) {
	if !d.Settings.TLS {
		for _, l := range links {
			if secret && !l.staysHere() {
				tell.Warn("tls", "off: password or token go to %s in clear text: add --tls or --tls-ca FILE", l.endpoint)
				return
			}
		}
		tell.OK("tls", "off")
		return
	}
	for _, l := range links {
		if s := l.State(); s != nil && len(s.PeerCertificates) > 0 {
			c := s.PeerCertificates[0]
			tellEnd(tell, chain(s), fmt.Sprintf("%s: %s, certificate for %s by %s", l.endpoint, tls.VersionName(s.Version), names(c), issuer(c)))
		}
	}
	if s := d.Settings; s.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil || pair.Leaf == nil {
			return // Dial has said so
		}
		tellEnd(tell, []*x509.Certificate{pair.Leaf}, fmt.Sprintf("our certificate for %s by %s", names(pair.Leaf), issuer(pair.Leaf)))
	}
}

// staysHere tells whether nobody outside of this host can listen.
func (l *Link) staysHere() bool {
	switch addr := l.RemoteAddr().(type) {
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// chain is the server's certificate and what vouches for it: any of them may end
// first.
func chain(s *tls.ConnectionState) []*x509.Certificate {
	if len(s.VerifiedChains) > 0 {
		return s.VerifiedChains[0]
	}
	return s.PeerCertificates
}

// tellEnd tells what the text says and when the first of the chain ends.
func tellEnd(tell lock.Tell, chain []*x509.Certificate, text string) {
	first := chain[0]
	for _, c := range chain {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	text += ", good until "
	if first != chain[0] {
		text += "its authority " + first.Subject.CommonName + " ends on "
	}
	text += first.NotAfter.Local().Format("2006-01-02 15:04 MST")
	switch left := time.Until(first.NotAfter); {
	case left <= 0:
		tell.Warn("tls", "%s: it has ended: replace it", text)
	case left < 48*time.Hour:
		tell.Warn("tls", "%s: %d hours are left: replace it", text, left/time.Hour)
	case left < soon:
		tell.Warn("tls", "%s: %d days are left: replace it", text, left/(24*time.Hour))
	default:
		tell.OK("tls", "%s", text)
	}
}

// names are what the certificate is good for.
func names(c *x509.Certificate) string {
	list := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		if !slices.Contains(list, ip.String()) {
			list = append(list, ip.String())
		}
	}
	if len(list) == 0 {
		return c.Subject.CommonName
	}
	return strings.Join(list, ", ")
}

func issuer(c *x509.Certificate) string {
	switch {
	case c.Issuer.String() == c.Subject.String():
		return "itself"
	case c.Issuer.CommonName != "":
		return c.Issuer.CommonName
	}
	return c.Issuer.String()
}
