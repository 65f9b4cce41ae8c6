package consul

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"leaderrun/lock"
)

const (
	defaultPort   = "8500"
	defaultPrefix = "/leaderrun"
)

// Parameters of the store URL.
const (
	paramDatacenter = "dc"
	paramNamespace  = "ns"
	paramPartition  = "partition"
	paramSocket     = "socket" // what CONSUL_HTTP_ADDR calls unix:///PATH
)

var params = []string{paramDatacenter, paramNamespace, paramPartition, paramSocket}

// Resolve completes the settings as the consul program would, from its variables,
// and puts the URL in the one form that all candidates of an election share. Secrets
// stay where they are. Errors are of kind lock.ErrConfig.
func Resolve(s lock.Settings) (lock.Settings, error) {
	if err := checkParams(s.URL.Params); err != nil {
		return s, err
	}
	if strings.Trim(s.URL.Path, "/") == "" {
		s.URL.Path = defaultPrefix
	}
	if err := s.URL.CheckPrefix(); err != nil { // Consul's HTTP server would send us elsewhere
		return s, err
	}
	secure, err := boolVar("CONSUL_HTTP_SSL")
	if err != nil {
		return s, err
	}
	verify, err := boolVar("CONSUL_HTTP_SSL_VERIFY")
	if err != nil {
		return s, err
	}
	s.TLS = s.TLS || secure || s.TLSCA != "" || s.TLSCert != "" || s.TLSKey != "" || s.TLSServerName != ""
	if err := resolveAddress(&s); err != nil {
		return s, err
	}
	resolvePlace(&s)
	if s.TLS {
		if !verify && os.Getenv("CONSUL_HTTP_SSL_VERIFY") != "" {
			return s, fmt.Errorf("%w: CONSUL_HTTP_SSL_VERIFY=false would hand the lock, and the ACL token, to whoever answers: leave it out, and name the authority with --tls-ca or CONSUL_CACERT", lock.ErrConfig)
		}
		if err := resolveTLS(&s); err != nil {
			return s, err
		}
	}
	if auth := os.Getenv("CONSUL_HTTP_AUTH"); s.User == "" && auth != "" {
		var ok bool
		if s.User, _, ok = strings.Cut(auth, ":"); !ok {
			s.User = "" // it may be the password
			return s, fmt.Errorf("%w: CONSUL_HTTP_AUTH: write USER:PASSWORD", lock.ErrConfig)
		}
	}
	if s.User == "" && s.PasswordFile != "" {
		return s, fmt.Errorf("%w: --password-file without --user: set --user", lock.ErrConfig)
	}
	_, err = newDialer(s) // reads the files
	return s, err
}

func checkParams(given url.Values) error {
	for name, values := range given {
		if !slices.Contains(params, name) {
			return fmt.Errorf("%w: --store: consul takes no parameter %q: only %s", lock.ErrConfig, name, strings.Join(params, ", "))
		}
		if len(values) != 1 || values[0] == "" {
			return fmt.Errorf("%w: --store: parameter %q must have one value", lock.ErrConfig, name)
		}
	}
	return nil
}

// resolveAddress fills in where the agent is, if the URL does not say.
func resolveAddress(s *lock.Settings) (err error) {
	from := "--store"
	hosts := s.URL.Hosts
	switch socket := s.URL.Params.Get(paramSocket); {
	case socket != "" && len(hosts) > 0:
		return fmt.Errorf("%w: --store: a host and ?socket= contradict each other: use one of them", lock.ErrConfig)
	case socket != "":
		return checkSocket(s, from, socket)
	case len(hosts) == 0:
		hosts = []string{"127.0.0.1"}
		if addr := os.Getenv("CONSUL_HTTP_ADDR"); addr != "" {
			from = "CONSUL_HTTP_ADDR"
			scheme, rest, ok := strings.Cut(addr, "://")
			if !ok {
				scheme, rest = "", addr
			}
			if scheme == "unix" {
				s.URL.Params = setParam(s.URL.Params, paramSocket, rest)
				return checkSocket(s, from, rest)
			}
			if rest, err = cutAddress(s, scheme, rest); err != nil {
				return err
			}
			hosts = []string{rest}
		}
	}
	s.URL.Hosts, err = lock.CanonicalHosts(from, hosts, defaultPort)
	return err
}

// cutAddress takes CONSUL_HTTP_ADDR as Consul's client does: https turns TLS on,
// http never off, and without a port it is the scheme's.
func cutAddress(s *lock.Settings, scheme, addr string) (string, error) {
	addr = strings.TrimRight(addr, "/")
	switch {
	case scheme != "" && scheme != "http" && scheme != "https":
		return "", fmt.Errorf("%w: CONSUL_HTTP_ADDR: unknown scheme %q: use http, https or unix", lock.ErrConfig, scheme)
	case strings.Contains(addr, "/"):
		return "", fmt.Errorf("%w: CONSUL_HTTP_ADDR: a path behind the host is not supported: use HOST:PORT", lock.ErrConfig)
	case strings.ContainsAny(addr, "?#"): // not shown: it could be ?token=
		return "", fmt.Errorf("%w: CONSUL_HTTP_ADDR: parameters behind the host are not supported: use HOST:PORT", lock.ErrConfig)
	case strings.Contains(addr, "@"):
		return "", fmt.Errorf("%w: CONSUL_HTTP_ADDR: a user or password does not belong there: use CONSUL_HTTP_AUTH", lock.ErrConfig)
	}
	s.TLS = s.TLS || scheme == "https"
	if scheme != "" && strings.LastIndex(addr, ":") <= strings.LastIndex(addr, "]") {
		addr += map[string]string{"http": ":80", "https": ":443"}[scheme]
	}
	return addr, nil
}

func checkSocket(s *lock.Settings, from, path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("%w: %s: socket %q: write its whole path, from /", lock.ErrConfig, from, path)
	case s.TLS:
		return fmt.Errorf("%w: %s: TLS on a unix socket is not supported: leave out --tls, the --tls-* flags and CONSUL_HTTP_SSL", lock.ErrConfig, from)
	}
	return nil
}

// resolvePlace fills in namespace and partition.
func resolvePlace(s *lock.Settings) {
	for param, name := range map[string]string{paramNamespace: "CONSUL_NAMESPACE", paramPartition: "CONSUL_PARTITION"} {
		if value := os.Getenv(name); value != "" && !s.URL.Params.Has(param) {
			s.URL.Params = setParam(s.URL.Params, param, value)
		}
	}
}

func setParam(in url.Values, name, value string) url.Values {
	out := url.Values{name: {value}}
	for k, v := range in { // ours to change is only a copy
		out[k] = v
	}
	return out
}

// resolveTLS takes over what belongs to TLS once it is on: for Consul's own client,
// whose variables these are, certificates alone do not turn it on.
func resolveTLS(s *lock.Settings) error {
	takeVar(&s.TLSCA, "CONSUL_CACERT")
	takeVar(&s.TLSServerName, "CONSUL_TLS_SERVER_NAME")
	if s.TLSCert == "" && s.TLSKey == "" { // never half a pair from here, half from there
		takeVar(&s.TLSCert, "CONSUL_CLIENT_CERT")
		takeVar(&s.TLSKey, "CONSUL_CLIENT_KEY")
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return fmt.Errorf("%w: --tls-cert and --tls-key (CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY) belong together: set both or neither", lock.ErrConfig)
	}
	if s.TLSCA == "" && os.Getenv("CONSUL_CAPATH") != "" {
		return fmt.Errorf("%w: CONSUL_CAPATH is not supported: put the certificates into one file, for --tls-ca or CONSUL_CACERT", lock.ErrConfig)
	}
	return nil
}

func takeVar(field *string, name string) {
	if *field == "" {
		*field = os.Getenv(name)
	}
}

// boolVar refuses what api.NewClient would log, on the child's standard error.
func boolVar(name string) (bool, error) {
	value := os.Getenv(name)
	if value == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("%w: %s=%q is neither true nor false", lock.ErrConfig, name, value)
	}
	return b, nil
}
