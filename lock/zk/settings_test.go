package zk

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"leaderrun/lock"
)

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
		s    lock.Settings
		want string // the canonical URL, or
		err  string // part of the error
		tls  bool
	}{
		{url: "zk:", want: "zk://127.0.0.1:2181/leaderrun"},
		{url: "zk:///p", want: "zk://127.0.0.1:2181/p"},
		{url: "zk://B,a:1/", want: "zk://a:1,b:2181/leaderrun"},
		{url: "zk://a,A:2181,a/p/q/", want: "zk://a:2181/p/q"},
		{url: "zk://[0:0::1]:2181", want: "zk://[::1]:2181/leaderrun"},
		{url: "zk://a/p%20q/ü", want: "zk://a:2181/p%20q/%C3%BC"},
		{url: "zk://a/p//q", err: "'//' do not go into a prefix"},
		{url: "zk://a/p/../q", err: "'.', '..' and '//' do not go"},
		{url: "zk://a/%F0%9F%99%82", err: "does not allow"},
		{url: "zk:", s: lock.Settings{TLSCA: "/nowhere"}, err: "--tls-ca: open /nowhere"},
		{url: "zk:", s: lock.Settings{TLSKey: "/nowhere"}, err: "belong together"},
		{url: "zk:", s: lock.Settings{TLSServerName: "x"}, want: "zk://127.0.0.1:2181/leaderrun", tls: true},
		{url: "zk:", s: lock.Settings{User: "me"}, err: "--user me without a password"},
		{url: "zk:", s: lock.Settings{User: "me:you", PasswordFile: password}, err: "no colon"},
		{url: "zk:", s: lock.Settings{User: "me", PasswordFile: password}, want: "zk://127.0.0.1:2181/leaderrun"},
		{url: "zk:", s: lock.Settings{User: "me", PasswordFile: "/nowhere"}, err: "--password-file: open /nowhere"},
		{url: "zk:", s: lock.Settings{User: "me", PasswordFile: empty}, err: "is empty"},
		{url: "zk:", s: lock.Settings{PasswordFile: password}, err: "without --user"},
		{url: "zk://a?x=1", err: `no parameter "x"`},
	} {
		t.Run(test.url, func(t *testing.T) {
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
			if got.URL.String() != test.want || got.TLS != test.tls {
				t.Errorf("%s, TLS %v", got.URL, got.TLS)
			}
			again, err := Resolve(got)
			if diff := cmp.Diff(got, again); diff != "" || err != nil {
				t.Errorf("resolved again: %v %s", err, diff)
			}
		})
	}
}

// A name is looked up anew for each connection: the ensemble may have moved.
func TestNameMoves(t *testing.T) {
	r := fast(t)
	_, port, err := net.SplitHostPort(r.zoo.Endpoints()[0])
	r.must(err)
	var answer atomic.Value // an address of nobody, then the right one
	answer.Store([4]byte{127, 0, 0, 99})
	nameServer(t, &answer)
	s := r.open("zoo.test:" + port)
	if _, err := s.Locker("e").Holder(t.Context()); !errors.Is(err, lock.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	answer.Store([4]byte{127, 0, 0, 1})
	a := r.lead(s, "a")
	a.Survives(1, testTTL)
	a.Release()
}

// nameServer answers for every name, and is the only one there is for this process.
func nameServer(t *testing.T, answer *atomic.Value) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = before; _ = pc.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: answer.Load().([4]byte)},
				}}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = pc.WriteTo(out, from)
			}
		}
	}()
}
