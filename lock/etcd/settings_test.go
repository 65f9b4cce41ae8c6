package etcd

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"leaderrun/lock"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		url  string
		env  string // NAME=value, separated by spaces
		s    lock.Settings
		want string // the canonical URL, or
		err  string // part of the error
		tls  bool
		user string
	}{
		{url: "etcd:", want: "etcd://127.0.0.1:2379/leaderrun"},
		{url: "etcd:///p", want: "etcd://127.0.0.1:2379/p"},
		{url: "etcd://B,a:1/", want: "etcd://a:1,b:2379/leaderrun"},
		{url: "etcd://a,A:2379,a/p/q/", want: "etcd://a:2379/p/q"},
		{url: "etcd://[0:0::1]:2379", want: "etcd://[::1]:2379/leaderrun"},
		{url: "etcd:", env: "ETCDCTL_ENDPOINTS=http://b:2379/,http://a:1", want: "etcd://a:1,b:2379/leaderrun"},
		{url: "etcd:", env: "ETCDCTL_ENDPOINTS=https://b", want: "etcd://b:2379/leaderrun", tls: true},
		{url: "etcd:", env: "ETCDCTL_ENDPOINTS=a,b", want: "etcd://a:2379,b:2379/leaderrun"},
		{url: "etcd://a", env: "ETCDCTL_ENDPOINTS=https://b", want: "etcd://a:2379/leaderrun"},
		{url: "etcd:", env: "ETCDCTL_ENDPOINTS=http://a,https://b", err: "ETCDCTL_ENDPOINTS mixes"},
		{url: "etcd:", env: "ETCDCTL_ENDPOINTS=http://a", s: lock.Settings{TLS: true}, err: "contradicts http://"},
		{url: "etcd:", env: "ETCDCTL_ENDPOINTS=http://a ETCDCTL_CACERT=/nowhere", want: "etcd://a:2379/leaderrun"},
		{url: "etcd:", env: "ETCDCTL_ENDPOINTS=unix:///socket", err: "ETCDCTL_ENDPOINTS: host"},
		{url: "etcd:", env: "ETCDCTL_CACERT=/nowhere", err: "--tls-ca: open /nowhere"},
		{url: "etcd:", s: lock.Settings{TLSCA: password}, err: "no PEM certificate"},
		{url: "etcd:", env: "ETCDCTL_CERT=/nowhere", err: "belong together"},
		{url: "etcd:", s: lock.Settings{TLSKey: "/nowhere"}, env: "ETCDCTL_CERT=/nowhere", err: "belong together"},
		{url: "etcd:", s: lock.Settings{TLSCert: "/nowhere", TLSKey: "/nowhere"}, err: "--tls-cert, --tls-key: open /nowhere"},
		{url: "etcd:", s: lock.Settings{TLSServerName: "x"}, want: "etcd://127.0.0.1:2379/leaderrun", tls: true},
		{url: "etcd:", s: lock.Settings{User: "me"}, err: "--user me without a password"},
		{url: "etcd:", s: lock.Settings{User: "me", PasswordFile: password}, want: "etcd://127.0.0.1:2379/leaderrun", user: "me"},
		{url: "etcd:", s: lock.Settings{User: "me", PasswordFile: "/nowhere"}, err: "--password-file: open /nowhere"},
		{url: "etcd:", s: lock.Settings{User: "me", PasswordFile: empty}, err: "is empty"},
		{url: "etcd:", s: lock.Settings{PasswordFile: password}, err: "without --user"},
		{url: "etcd:", env: "ETCDCTL_USER=me:sesame", want: "etcd://127.0.0.1:2379/leaderrun", user: "me"},
		{url: "etcd:", env: "ETCDCTL_USER=me ETCDCTL_PASSWORD=sesame", want: "etcd://127.0.0.1:2379/leaderrun", user: "me"},
		{url: "etcd:", env: "ETCDCTL_USER=me", err: "without a password"},
		{url: "etcd:", env: "ETCDCTL_USER=me:sesame", s: lock.Settings{User: "you"}, err: "--user you without a password"},
		{url: "etcd://a//p", err: "prefix //p: '.', '..' and '//'"},
		{url: "etcd://a/p/../q", err: "do not go into a prefix"},
		{url: "etcd://a?x=1", err: `no parameter "x"`},
	} {
		t.Run(test.url+" "+test.env, func(t *testing.T) {
			for kv := range strings.FieldsSeq(test.env) {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
			s := test.s
			var err error
			if s.URL, err = lock.ParseURL(test.url); err != nil {
				t.Fatal(err)
			}
			got, err := Resolve(s)
			if test.err != "" {
				if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "sesame") {
					t.Fatalf("%v; want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.URL.String() != test.want || got.TLS != test.tls || got.User != test.user {
				t.Errorf("%s, TLS %v, user %q", got.URL, got.TLS, got.User)
			}
			if strings.Contains(test.env, "http://") {
				return // what goes with these addresses cannot be told from the URL
			}
			again, err := Resolve(got)
			if diff := cmp.Diff(got, again); diff != "" || err != nil {
				t.Errorf("resolved again: %v %s", err, diff)
			}
		})
	}
}

func TestMayRenewStale(t *testing.T) {
	for version, want := range map[string]bool{
		"3.3.27": true, "3.4.30": true, "3.4.31": false, "3.5.0": true, "3.5.12": true, "3.5.13": false,
		"3.5.13-rc.1": false, "3.6.0": false, "3.7.0-alpha.0": false, "4.0.0": false, "2.3.8": true, "": false,
	} {
		if got := mayRenewStale(version); got != want {
			t.Errorf("%s: %v", version, got)
		}
	}
}
