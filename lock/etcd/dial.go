package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	"leaderrun/lock"
)

// A dialer makes connections as the settings say. It reads the files anew each
// time: certificates and passwords are replaced while a candidate waits.
type dialer struct{ settings lock.Settings }

func (d dialer) dial(ctx context.Context, endpoint string, reached func()) (*conn, error) {
	conf, err := d.tls(endpoint)
	if err != nil {
		return nil, err
	}
	password, err := d.password()
	if err != nil {
		return nil, err
	}
	l, err := dialLink(ctx, endpoint, conf, reached)
	if err != nil {
		return nil, err
	}
	return newConn(ctx, endpoint, l, d.settings.User, password)
}

// check reads what dial will read, so that a wrong path is found at once.
func (d dialer) check() error {
	if _, err := d.tls("host:1"); err != nil {
		return err
	}
	_, err := d.password()
	return err
}

func (d dialer) tls(endpoint string) (*tls.Config, error) {
	s := d.settings
	if !s.TLS {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: --store: %w", lock.ErrConfig, err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, NextProtos: []string{"h2"}}
	if s.TLSServerName != "" {
		conf.ServerName = s.TLSServerName
	}
	if s.TLSCA != "" {
		pem, err := os.ReadFile(s.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("%w: --tls-ca: %w", lock.ErrConfig, err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: --tls-ca: no PEM certificate in %s", lock.ErrConfig, s.TLSCA)
		}
	}
	if s.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("%w: --tls-cert, --tls-key: %w", lock.ErrConfig, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// password is from --password-file, else from etcdctl's variables.
func (d dialer) password() (string, error) {
	s := d.settings
	if s.User == "" {
		return "", nil
	}
	if s.PasswordFile != "" {
		data, err := os.ReadFile(s.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("%w: --password-file: %w", lock.ErrConfig, err)
		}
		password := strings.TrimRight(string(data), "\r\n")
		if password == "" {
			return "", fmt.Errorf("%w: --password-file: %s is empty", lock.ErrConfig, s.PasswordFile)
		}
		return password, nil
	}
	if password := os.Getenv("ETCDCTL_PASSWORD"); password != "" {
		return password, nil
	}
	// A password in the variable belongs to the user in the variable.
	if user, password, _ := strings.Cut(os.Getenv("ETCDCTL_USER"), ":"); user == s.User && password != "" {
		return password, nil
	}
	return "", fmt.Errorf("%w: --user %s without a password: set --password-file or ETCDCTL_PASSWORD", lock.ErrConfig, s.User)
}
