package etcd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"leaderrun/lock"
)

const (
	defaultPort   = "2379"
	defaultPrefix = "/leaderrun"
)

// Resolve completes the settings as etcdctl would, from its variables, and
// puts the URL in the one form that all candidates of an election share.
// Secrets stay where they are. Errors are of kind lock.ErrConfig.
func Resolve(s lock.Settings) (lock.Settings, error) {
	for name := range s.URL.Params {
		return s, fmt.Errorf("%w: --store: etcd takes no parameter %q: leave out what follows the ?", lock.ErrConfig, name)
	}
	if strings.Trim(s.URL.Path, "/") == "" {
		s.URL.Path = defaultPrefix
	}
	hosts, err := resolveHosts(&s)
	if err != nil {
		return s, err
	}
	s.URL.Hosts = hosts
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return s, fmt.Errorf("%w: --tls-cert and --tls-key (ETCDCTL_CERT and ETCDCTL_KEY) belong together: set both or neither", lock.ErrConfig)
	}
	if s.TLSCA != "" || s.TLSCert != "" || s.TLSServerName != "" {
		s.TLS = true
	}
	if s.User == "" {
		s.User, _, _ = strings.Cut(os.Getenv("ETCDCTL_USER"), ":")
	}
	if s.User == "" && s.PasswordFile != "" {
		return s, fmt.Errorf("%w: --password-file without --user: set --user", lock.ErrConfig)
	}
	return s, dialer{s}.check()
}

// resolveHosts returns the addresses, and takes over what goes with them: an
// address of etcdctl's that says http means it, whatever certificates are set
// beside it; one that says https turns TLS on.
func resolveHosts(s *lock.Settings) ([]string, error) {
	hosts, from, plain := s.URL.Hosts, "--store", false
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1:" + defaultPort}
		if list := os.Getenv("ETCDCTL_ENDPOINTS"); list != "" {
			from = "ETCDCTL_ENDPOINTS"
			var secure bool
			hosts, secure, plain = cutSchemes(list)
			switch {
			case secure && plain:
				return nil, fmt.Errorf("%w: ETCDCTL_ENDPOINTS mixes http:// and https://: use one of them", lock.ErrConfig)
			case plain && (s.TLS || s.TLSCA != "" || s.TLSCert != "" || s.TLSServerName != ""):
				return nil, fmt.Errorf("%w: --tls contradicts http:// in ETCDCTL_ENDPOINTS: use https:// there or leave out the --tls flags", lock.ErrConfig)
			}
			s.TLS = s.TLS || secure
		}
	}
	if !plain {
		takeVar(&s.TLSCA, "ETCDCTL_CACERT")
		if s.TLSCert == "" && s.TLSKey == "" { // never half a pair from here, half from there
			takeVar(&s.TLSCert, "ETCDCTL_CERT")
			takeVar(&s.TLSKey, "ETCDCTL_KEY")
		}
	}
	var out []string
	for _, h := range hosts {
		full, err := canonicalHost(h)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: host %q: %w", lock.ErrConfig, from, h, err)
		}
		out = append(out, full)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func takeVar(field *string, name string) {
	if *field == "" {
		*field = os.Getenv(name)
	}
}

func cutSchemes(list string) (hosts []string, secure, plain bool) {
	for h := range strings.SplitSeq(list, ",") {
		h = strings.TrimSpace(h)
		if rest, ok := strings.CutPrefix(h, "https://"); ok {
			h, secure = rest, true
		} else if rest, ok := strings.CutPrefix(h, "http://"); ok {
			h, plain = rest, true
		}
		hosts = append(hosts, strings.TrimRight(h, "/"))
	}
	return hosts, secure, plain
}

// canonicalHost writes an address as all candidates write it.
func canonicalHost(h string) (string, error) {
	h = strings.ToLower(h)
	if !strings.Contains(h, ":") {
		h += ":" + defaultPort
	}
	host, port, err := net.SplitHostPort(h)
	if err != nil || host == "" || strings.ContainsAny(host, "/@ ") {
		return "", fmt.Errorf("write HOST:PORT, and an IPv6 address as [ADDRESS]:PORT")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("write HOST:PORT with a port from 1 to 65535")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	return net.JoinHostPort(host, port), nil
}
