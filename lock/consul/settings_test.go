package consul

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"leaderrun/lock"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := filepath.Join(dir, "lines")
	if err := os.WriteFile(lines, []byte("sesame\nsesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const local = "consul://127.0.0.1:8500/leaderrun"
	for _, test := range []struct {
		url  string
		env  string // NAME=value without CONSUL_, separated by spaces
		s    lock.Settings
		want string // the canonical URL, or
		err  string // part of the error
		tls  bool
		user string
	}{
		{url: "consul:", want: local},
		{url: "consul:///p", want: "consul://127.0.0.1:8500/p"},
		{url: "consul://B,a:1/", want: "consul://a:1,b:8500/leaderrun"},
		{url: "consul://a,A:8500,a/p/q/", want: "consul://a:8500/p/q"},
		{url: "consul://[0:0::1]:8500", want: "consul://[::1]:8500/leaderrun"},
		{url: "consul://a//p", err: "prefix //p"},
		{url: "consul://a/p/../q", err: "prefix /p/../q"},

		{url: "consul:", env: "HTTP_ADDR=B:1", want: "consul://b:1/leaderrun"},
		{url: "consul:", env: "HTTP_ADDR=b", want: "consul://b:8500/leaderrun"},
		{url: "consul:", env: "HTTP_ADDR=http://b", want: "consul://b:80/leaderrun"},
		{url: "consul:", env: "HTTP_ADDR=https://b", want: "consul://b:443/leaderrun", tls: true},
		{url: "consul:", env: "HTTP_ADDR=https://[::1]:8501/", want: "consul://[::1]:8501/leaderrun", tls: true},
		{url: "consul:", env: "HTTP_ADDR=http://[::1]", want: "consul://[::1]:80/leaderrun"},
		{url: "consul:", env: "HTTP_ADDR=http://b:1 HTTP_SSL=true", want: "consul://b:1/leaderrun", tls: true},
		{url: "consul:", env: "HTTP_ADDR=http://b/consul", err: "CONSUL_HTTP_ADDR: a path"},
		{url: "consul:", env: "HTTP_ADDR=ftp://b", err: `CONSUL_HTTP_ADDR: unknown scheme "ftp"`},
		{url: "consul:", env: "HTTP_ADDR=http://me:sesame@b", err: "CONSUL_HTTP_ADDR: a user"},
		{url: "consul:", env: "HTTP_ADDR=b:1?token=sesame", err: "CONSUL_HTTP_ADDR: parameters"},
		{url: "consul://a", env: "HTTP_ADDR=https://b", want: "consul://a:8500/leaderrun"},
		{url: "consul:", env: "HTTP_ADDR=unix:///run/c.sock", want: "consul:///leaderrun?socket=%2Frun%2Fc.sock"},
		{url: "consul:", env: "HTTP_ADDR=unix://c.sock", err: "whole path"},
		{url: "consul:", env: "HTTP_ADDR=unix:///run/c.sock HTTP_SSL=1", err: "TLS on a unix socket"},
		{url: "consul:///p?socket=/run/c.sock", want: "consul:///p?socket=%2Frun%2Fc.sock"},
		{url: "consul://a?socket=/run/c.sock", err: "contradict"},

		{url: "consul://a?dc=eu&ns=n&partition=p", want: "consul://a:8500/leaderrun?dc=eu&ns=n&partition=p"},
		{url: "consul://a?ns=n", env: "NAMESPACE=m PARTITION=q", want: "consul://a:8500/leaderrun?ns=n&partition=q"},
		{url: "consul://a?x=1", err: `no parameter "x"`},
		{url: "consul://a?dc=", err: `"dc" must have one value`},
		{url: "consul://a?dc=a&dc=b", err: `"dc" must have one value`},

		{url: "consul:", env: "CACERT=/nowhere CLIENT_CERT=/nowhere TLS_SERVER_NAME=x", want: local},
		{url: "consul:", env: "CACERT=/nowhere HTTP_SSL=true", err: "--tls-ca: open /nowhere"},
		{url: "consul:", env: "CACERT=/nowhere", s: lock.Settings{TLS: true}, err: "--tls-ca: open /nowhere"},
		{url: "consul:", s: lock.Settings{TLSCA: secret}, err: "no PEM certificate"},
		{url: "consul:", env: "CLIENT_CERT=/nowhere HTTP_SSL=true", err: "belong together"},
		{url: "consul:", s: lock.Settings{TLSKey: "/nowhere"}, env: "CLIENT_CERT=/nowhere", err: "belong together"},
		{url: "consul:", s: lock.Settings{TLSServerName: "x"}, want: local, tls: true},
		{url: "consul:", env: "HTTP_SSL=true TLS_SERVER_NAME=x", want: local, tls: true},
		{url: "consul:", env: "HTTP_SSL=perhaps", err: "CONSUL_HTTP_SSL=\"perhaps\""},
		{url: "consul:", env: "HTTP_SSL_VERIFY=perhaps", err: "CONSUL_HTTP_SSL_VERIFY=\"perhaps\""},
		{url: "consul:", env: "HTTP_SSL_VERIFY=false", want: local},
		{url: "consul:", env: "HTTP_SSL_VERIFY=false HTTP_SSL=true", err: "CONSUL_HTTP_SSL_VERIFY=false"},
		{url: "consul:", env: "CAPATH=/etc/ssl HTTP_SSL=true", err: "CONSUL_CAPATH is not supported"},

		{url: "consul:", s: lock.Settings{User: "me"}, err: "--user me without a password"},
		{url: "consul:", s: lock.Settings{User: "me", PasswordFile: secret}, want: local, user: "me"},
		{url: "consul:", s: lock.Settings{PasswordFile: secret}, err: "without --user"},
		{url: "consul:", env: "HTTP_AUTH=me:sesame", want: local, user: "me"},
		{url: "consul:", env: "HTTP_AUTH=me:sesame", s: lock.Settings{User: "you"}, err: "--user you without a password"},
		{url: "consul:", env: "HTTP_AUTH=sesame", err: "CONSUL_HTTP_AUTH: write USER:PASSWORD"},
		{url: "consul:", s: lock.Settings{ACLTokenFile: secret}, want: local},
		{url: "consul:", s: lock.Settings{ACLTokenFile: lines}, err: "--acl-token-file: control characters"},
		{url: "consul:", s: lock.Settings{ACLTokenFile: "/nowhere"}, err: "--acl-token-file: open /nowhere"},
		{url: "consul:", s: lock.Settings{ACLTokenFile: empty}, err: "is empty"},
		{url: "consul:", env: "HTTP_TOKEN_FILE=/nowhere", err: "CONSUL_HTTP_TOKEN_FILE: open /nowhere"},
		{url: "consul:", env: "HTTP_TOKEN_FILE=/nowhere", s: lock.Settings{ACLTokenFile: secret}, want: local},
	} {
		t.Run(test.url+" "+test.env, func(t *testing.T) {
			for kv := range strings.FieldsSeq(test.env) {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv("CONSUL_"+name, value)
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
			again, err := Resolve(got)
			if diff := cmp.Diff(got, again); diff != "" || err != nil {
				t.Errorf("resolved again: %v %s", err, diff)
			}
			if back, err := lock.ParseURL(got.URL.String()); err != nil || back.String() != test.want {
				t.Errorf("%s becomes %s, %v", got.URL, back, err)
			}
			if _, err := Open(got); err != nil {
				t.Errorf("open: %v", err)
			}
		})
	}
}

// What stands in the environment and was not meant is not used behind our back.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"HTTP_ADDR": "unix:///nowhere", "HTTP_TOKEN": "sesame", "HTTP_TOKEN_FILE": "/nowhere", "HTTP_AUTH": "me:sesame",
		"HTTP_SSL": "true", "CACERT": "/nowhere", "CAPATH": "/nowhere", "CLIENT_CERT": "/nowhere", "CLIENT_KEY": "/nowhere",
		"TLS_SERVER_NAME": "nowhere", "HTTP_SSL_VERIFY": "false", "NAMESPACE": "n", "PARTITION": "p",
	} {
		t.Setenv("CONSUL_"+name, value)
	}
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("anybody"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := capture(t, lock.Settings{URL: lock.URL{Scheme: "consul", Path: "/p"}, ACLTokenFile: token})
	if got.Header.Get("X-Consul-Token") != "anybody" || got.Header.Get("Authorization") != "" || got.URL.RawQuery != "" {
		t.Errorf("request %s with %v", got.URL, got.Header)
	}
}
