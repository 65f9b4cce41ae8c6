package zk

import (
	"fmt"
	"strings"

	"leaderrun/lock"
)

const (
	defaultPort   = "2181"
	defaultPrefix = "/leaderrun"
)

// Resolve completes the settings. ZooKeeper's own tools have no variables that
// say where it is, so that the short form means this host. Errors are of kind
// lock.ErrConfig.
func Resolve(s lock.Settings) (lock.Settings, error) {
	for name := range s.URL.Params {
		return s, fmt.Errorf("%w: --store zk: there is no parameter %q", lock.ErrConfig, name)
	}
	hosts := s.URL.Hosts
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	var err error
	if s.URL.Hosts, err = lock.CanonicalHosts("--store", hosts, defaultPort); err != nil {
		return s, err
	}
	if strings.Trim(s.URL.Path, "/") == "" {
		s.URL.Path = defaultPrefix
	}
	if err := checkPrefix(s.URL); err != nil {
		return s, err
	}
	if err := s.CompleteTLS(""); err != nil {
		return s, err
	}
	if err := checkUser(s); err != nil {
		return s, err
	}
	return s, newDialer(s).check()
}

// checkPrefix refuses what ZooKeeper does not take as a path. The prefix is
// taken as it is written, so that it is what people see in zkCli.
func checkPrefix(u lock.URL) error {
	if i := strings.IndexFunc(u.Path, forbidden); i >= 0 {
		return fmt.Errorf("%w: --store: path %s: ZooKeeper does not allow the character %q",
			lock.ErrConfig, u.Path, []rune(u.Path[i:])[0])
	}
	return u.CheckPrefix()
}

func checkUser(s lock.Settings) error {
	switch {
	case s.User == "" && s.PasswordFile != "":
		return fmt.Errorf("%w: --password-file without --user: say whose password it is", lock.ErrConfig)
	case s.User != "" && s.PasswordFile == "":
		return fmt.Errorf("%w: --user %s without a password: set --password-file", lock.ErrConfig, s.User)
	case strings.Contains(s.User, ":"):
		return fmt.Errorf("%w: --user %q: ZooKeeper's digest users have no colon in their names", lock.ErrConfig, s.User)
	}
	return nil
}
