package lock

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Settings say how to reach a store. They hold no secret, so that they may be
// written to another process: secrets are read from files and from the
// ecosystem's variables by whoever connects.
type Settings struct {
	URL            URL
	TLS            bool   `json:",omitempty"` // also set by any of the files below
	TLSCA          string `json:",omitempty"`
	TLSCert        string `json:",omitempty"`
	TLSKey         string `json:",omitempty"`
	TLSServerName  string `json:",omitempty"`
	User           string `json:",omitempty"`
	PasswordFile   string `json:",omitempty"`
	ACLTokenFile   string `json:",omitempty"` // Consul's
	DefaultTimeout Timing // bounds requests that belong to no lease yet
	// Observe: nothing is to be made or written that a campaign would need; a store
	// that is not there yet is one in which nobody leads.
	Observe bool `json:",omitempty"`
}

// CompleteTLS turns TLS on if any of its files or names is set, and refuses half
// a pair; variables are those of the ecosystem that the pair may have come from,
// in brackets, or empty.
func (s *Settings) CompleteTLS(variables string) error {
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return fmt.Errorf("%w: --tls-cert and --tls-key%s belong together: set both or neither", ErrConfig, variables)
	}
	s.TLS = s.TLS || s.TLSCA != "" || s.TLSCert != "" || s.TLSServerName != ""
	return nil
}

// CheckText refuses what is not UTF-8 in settings that are complete: JSON, in which
// they go to the release command, would make other names of it.
func (s Settings) CheckText() error {
	for setting, value := range map[string]string{
		"--store": s.URL.Path + fmt.Sprint(s.URL.Params), "--tls-ca": s.TLSCA, "--tls-cert": s.TLSCert, "--tls-key": s.TLSKey,
		"--tls-server-name": s.TLSServerName, "--user": s.User, "--password-file": s.PasswordFile, "--acl-token-file": s.ACLTokenFile,
	} {
		if !utf8.ValidString(value) {
			return fmt.Errorf("%w: %s, or a variable in its place: not UTF-8", ErrConfig, setting)
		}
	}
	return nil
}

// A URL is a store URL. Unlike net/url it allows several hosts:
// etcd://h1:2379,h2:2379/prefix.
type URL struct {
	Scheme string
	Hosts  []string   `json:",omitempty"` // host:port as written; empty for the short form
	Path   string     `json:",omitempty"` // with its leading slash, without a trailing one; empty for the default
	Params url.Values `json:",omitempty"`
}

// CheckPrefix refuses a path that another one is as good as: to candidates that
// spell it differently, or to a store that tidies it up, it would be two places.
// Errors are of kind ErrConfig.
func (u URL) CheckPrefix() error {
	for element := range strings.SplitSeq(strings.TrimPrefix(u.Path, "/"), "/") {
		if element == "" || element == "." || element == ".." {
			return fmt.Errorf("%w: --store: prefix %s: '.', '..' and '//' do not go into a prefix: leave them out", ErrConfig, u.Path)
		}
	}
	return nil
}

// ParseURL parses a store URL. Errors are of kind ErrConfig, name --store and
// never repeat what could be a password.
func ParseURL(raw string) (URL, error) {
	var u URL
	bad := func(format string, args ...any) (URL, error) {
		return URL{}, fmt.Errorf("%w: --store: %s", ErrConfig, fmt.Sprintf(format, args...))
	}
	scheme, rest, ok := strings.Cut(raw, ":")
	if strings.Contains(raw, "@") && !isFilePath(scheme, rest) {
		return bad("a user or password does not belong in the URL, where every process can read it: use --user and --password-file")
	}
	if !ok || !isScheme(scheme) {
		return bad("no scheme: write it as file:///DIR, etcd://HOST:PORT/PREFIX, or short as file: or etcd:")
	}
	u.Scheme = strings.ToLower(scheme)
	if i := strings.IndexFunc(raw, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }); i >= 0 {
		return bad("space or control character at position %d", i+1)
	}
	if !utf8.ValidString(raw) {
		return bad("not UTF-8")
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(rest, "#") {
		return bad("a fragment (#) means nothing here: leave it out")
	}
	var err error
	if u.Params, err = url.ParseQuery(query); err != nil {
		return bad("parameters after ?: %v", err)
	}
	if len(u.Params) == 0 {
		u.Params = nil
	}
	for name, values := range u.Params {
		if !isText(name) || slices.ContainsFunc(values, func(v string) bool { return !isText(v) }) {
			return bad("parameters after ?: control character, or not UTF-8")
		}
	}
	if rest == "" {
		return u, nil
	}
	rest, ok = strings.CutPrefix(rest, "//")
	if !ok {
		return bad("after %s: either nothing or //: %s://", u.Scheme, u.Scheme)
	}
	authority, path, hasPath := strings.Cut(rest, "/")
	if hasPath {
		path, err = url.PathUnescape(path)
		if err != nil {
			return bad("path: %v", err)
		}
		if !isText(path) {
			return bad("path: control character, or not UTF-8")
		}
		u.Path = "/" + strings.TrimRight(path, "/")
	}
	if authority == "" {
		return u, nil
	}
	for host := range strings.SplitSeq(authority, ",") {
		if err := checkHost(host); err != nil {
			return bad("host %q: %v", host, err)
		}
		u.Hosts = append(u.Hosts, host)
	}
	return u, nil
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

// isFilePath reports whether an @ is a character like others, and not the end
// of a password.
func isFilePath(scheme, rest string) bool {
	return strings.EqualFold(scheme, "file") && strings.HasPrefix(rest, "///")
}

func isScheme(s string) bool {
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return false
		}
	}
	return s != ""
}

func checkHost(host string) error {
	if host == "" {
		return fmt.Errorf("empty: write HOST:PORT, several with commas")
	}
	if !strings.Contains(host, ":") { // the store's default port
		return checkHostName(host)
	}
	h, port, err := net.SplitHostPort(host)
	if err != nil {
		return fmt.Errorf("write HOST:PORT, and an IPv6 address as [ADDRESS]:PORT")
	}
	if n, err := strconv.ParseUint(port, 10, 16); h == "" || err != nil || n < 1 {
		return fmt.Errorf("write HOST:PORT with a port from 1 to 65535")
	}
	return checkHostName(h)
}

func checkHostName(h string) error {
	if _, err := netip.ParseAddr(h); err == nil {
		return nil
	}
	if i := strings.IndexFunc(h, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._", r)
	}); i >= 0 {
		return fmt.Errorf("%q is no part of a host name: write HOST:PORT", h[i:i+1])
	}
	return nil
}

// String is the URL in its canonical writing.
func (u URL) String() string {
	s := u.Scheme + ":"
	if len(u.Hosts) > 0 || u.Path != "" {
		rest := "//" + strings.Join(u.Hosts, ",") + (&url.URL{Path: u.Path}).EscapedPath()
		if !isFilePath(u.Scheme, rest) {
			rest = strings.ReplaceAll(rest, "@", "%40")
		}
		s += rest
	}
	if len(u.Params) > 0 {
		s += "?" + u.Params.Encode()
	}
	return s
}
