package etcd

import (
	"context"
	"fmt"
	"os"
	"strings"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// A dialer makes connections as the settings say. It reads the files anew each
// time: certificates and passwords are replaced while a candidate waits.
type dialer struct{ transport.Dialer }

func newDialer(s lock.Settings) dialer {
	return dialer{transport.Dialer{
		Store: storeName, Settings: s, NextProtos: []string{"h2"},
		SpeaksPlain: speaksPlain, Variables: "ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY",
	}}
}

func (d dialer) dial(ctx context.Context, endpoint string, reached func()) (*conn, error) {
	password, err := d.password()
	if err != nil {
		return nil, err
	}
	l, err := d.Dial(ctx, endpoint, reached)
	if err != nil {
		return nil, err
	}
	return newConn(ctx, endpoint, d, l, password)
}

// check reads what dial will read, so that a wrong path is found at once.
func (d dialer) check() error {
	if err := d.Check(); err != nil {
		return err
	}
	_, err := d.password()
	return err
}

// password is from --password-file, else from etcdctl's variables.
func (d dialer) password() (string, error) {
	s := d.Settings
	if s.User == "" {
		return "", nil
	}
	if s.PasswordFile != "" {
		return lock.ReadSecret("--password-file", s.PasswordFile)
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
