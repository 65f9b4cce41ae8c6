package etcd

import (
	"fmt"
	"os"
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
	if err := s.URL.CheckPrefix(); err != nil {
		return s, err
	}
	hosts, err := resolveHosts(&s)
	if err != nil {
		return s, err
	}
	s.URL.Hosts = hosts
	if err := s.CompleteTLS(" (ETCDCTL_CERT and ETCDCTL_KEY)"); err != nil {
		return s, err
	}
	if s.ACLTokenFile != "" {
		return s, fmt.Errorf("%w: --acl-token-file is Consul's: etcd takes --user and --password-file", lock.ErrConfig)
	}
	if s.User == "" {
		s.User, _, _ = strings.Cut(os.Getenv("ETCDCTL_USER"), ":")
	}
	if s.User == "" && s.PasswordFile != "" {
		return s, fmt.Errorf("%w: --password-file without --user: set --user", lock.ErrConfig)
	}
	return s, newDialer(s).check()
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
	return lock.CanonicalHosts(from, hosts, defaultPort)
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
