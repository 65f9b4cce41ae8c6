package consul

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

const (
	storeName = "consul"
	// tlsVariables is what the hint about TLS adds to leaderrun's own flags.
	tlsVariables = "CONSUL_HTTP_SSL, https:// in CONSUL_HTTP_ADDR, CONSUL_CACERT, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY"
)

// A dialer makes lines as the settings say. It reads the files anew each time:
// certificates, passwords and tokens are replaced while a candidate waits.
type dialer struct {
	transport.Dialer
	endpoints []string // HOST:PORT, or the path of a unix socket
	place     place
	tls       bool
	bound     time.Duration // of dialling
}

// newDialer takes resolved settings.
func newDialer(s lock.Settings) (*dialer, error) {
	d := &dialer{
		Dialer: transport.Dialer{
			Store: storeName, Settings: s, NextProtos: []string{"http/1.1"},
			SpeaksPlain: speaksHTTP, Variables: tlsVariables,
		},
		endpoints: s.URL.Hosts,
		place: place{
			datacenter: s.URL.Params.Get(paramDatacenter),
			namespace:  s.URL.Params.Get(paramNamespace),
			partition:  s.URL.Params.Get(paramPartition),
		},
		tls: s.TLS, bound: max(s.DefaultTimeout.Request, time.Second),
	}
	if path := s.URL.Params.Get(paramSocket); path != "" {
		d.endpoints = []string{path}
	}
	if len(d.endpoints) == 0 || s.URL.Path == "" {
		return nil, fmt.Errorf("%w: --store: neither host nor prefix", lock.ErrConfig)
	}
	return d, d.check()
}

// check reads what dial and sign will read, so that a wrong path is found at once.
func (d *dialer) check() error {
	if err := d.Check(); err != nil {
		return err
	}
	if _, err := d.token(); err != nil {
		return err
	}
	_, _, err := d.password()
	return err
}

// prefix is that of all keys, for policies.
func (d *dialer) prefix() string { return strings.TrimPrefix(d.Settings.URL.Path, "/") }

func isSocket(endpoint string) bool { return strings.HasPrefix(endpoint, "/") }

// speaksHTTP tells whether the server answers HTTP without TLS.
func speaksHTTP(c net.Conn) bool {
	if _, err := io.WriteString(c, "GET /v1/status/leader HTTP/1.0\r\n\r\n"); err != nil {
		return false
	}
	b := make([]byte, 5)
	_, err := io.ReadFull(c, b)
	return err == nil && string(b) == "HTTP/"
}

// sign adds token and password to a request. The files are read each time, so
// that a rotated token is used without losing the tenure. That one of them cannot
// be read, having been there at the start, is no reason to give up.
func (d *dialer) sign(req *http.Request) error {
	req.Header.Del("X-Consul-Token")
	req.Header.Del("Authorization")
	token, err := d.token()
	if err != nil {
		return fmt.Errorf("%w: %w", lock.ErrUnavailable, notNow(err))
	}
	if token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	user, password, err := d.password()
	if err != nil {
		return fmt.Errorf("%w: %w", lock.ErrUnavailable, notNow(err))
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	return nil
}

// notNow takes its kind from an error about a file that was all right when we began,
// and may be again.
func notNow(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), lock.ErrConfig.Error()+": "))
}

// token is from --acl-token-file, else from Consul's variables, in Consul's order;
// "" is the anonymous token. Errors are of kind lock.ErrConfig and never hold it.
func (d *dialer) token() (token string, err error) {
	source := d.tokenSource()
	switch path := os.Getenv("CONSUL_HTTP_TOKEN_FILE"); {
	case d.Settings.ACLTokenFile != "":
		token, err = lock.ReadSecret(source, d.Settings.ACLTokenFile)
	case path != "":
		token, err = lock.ReadSecret(source, path)
	default:
		token = os.Getenv("CONSUL_HTTP_TOKEN")
	}
	// HTTP does not carry it, of which http.Transport would tell with each request.
	if err == nil && strings.ContainsFunc(token, unicode.IsControl) {
		err = fmt.Errorf("%w: %s: control characters, or more than one line, are no ACL token", lock.ErrConfig, source)
	}
	return token, err
}

// tokenSource names the setting that people have to mend.
func (d *dialer) tokenSource() string {
	switch {
	case d.Settings.ACLTokenFile != "":
		return "--acl-token-file"
	case os.Getenv("CONSUL_HTTP_TOKEN_FILE") != "":
		return "CONSUL_HTTP_TOKEN_FILE"
	case os.Getenv("CONSUL_HTTP_TOKEN") != "":
		return "CONSUL_HTTP_TOKEN"
	}
	return ""
}

// password is what HTTP's basic authentication needs, which Consul itself never
// asks for but a proxy before it may.
func (d *dialer) password() (user, password string, err error) {
	s := d.Settings
	if s.User == "" {
		return "", "", nil
	}
	if s.PasswordFile != "" {
		password, err = lock.ReadSecret("--password-file", s.PasswordFile)
		return s.User, password, err
	}
	// A password in the variable belongs to the user in the variable.
	if user, password, _ := strings.Cut(os.Getenv("CONSUL_HTTP_AUTH"), ":"); user == s.User && password != "" {
		return user, password, nil
	}
	return "", "", fmt.Errorf("%w: --user %s without a password: set --password-file or CONSUL_HTTP_AUTH", lock.ErrConfig, s.User)
}
