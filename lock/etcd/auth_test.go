package etcd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// refused asserts that a first request fails with that kind, at once and in one
// line that names the cure.
func (r *rig) refused(settings lock.Settings, kind error, words ...string) {
	r.Helper()
	began := time.Now()
	_, err := r.openWith(settings).Locker("e").Acquire(r.Context(), lock.Candidate{ID: "a", TTL: testTTL})
	if took := time.Since(began); took > prompt {
		r.Errorf("took %v", took)
	}
	r.Logf("%v", err)
	if !errors.Is(err, kind) {
		r.Errorf("%v; want %v", err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.Errorf("%q lacks %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "sesame") {
		r.Errorf("%q", err)
	}
}

func TestTLS(t *testing.T) {
	r := newRig(t, servers.EtcdOptions{TLS: true, Fast: true})
	good := r.settings()
	a := r.lead(r.open(), "a")
	b := r.standBy(r.open(), "b")
	a.Release()
	r.must(b.Wins(prompt).Release(t.Context()))

	other := newRig(t, servers.EtcdOptions{TLS: true, Fast: true})
	bad := good
	bad.TLSCA = other.etcd.CA()
	r.refused(bad, lock.ErrDenied, "--tls-ca", "unknown authority")
	bad = good
	bad.TLSServerName = "elsewhere.example"
	r.refused(bad, lock.ErrDenied, "--tls-server-name", "elsewhere.example")
	bad = good
	bad.TLSCert, bad.TLSKey = other.etcd.ClientCert(), other.etcd.ClientKey()
	r.refused(bad, lock.ErrDenied, "--tls-cert")
	bad.TLSCert, bad.TLSKey = "", ""
	r.refused(bad, lock.ErrDenied, "--tls-cert")
	bad.TLSCA = ""
	r.refused(bad, lock.ErrConfig, "add --tls")

	plain := fast(t)
	bad = good
	bad.URL = plain.settings().URL
	plain.refused(bad, lock.ErrConfig, "does not speak TLS")
}

func TestUsers(t *testing.T) {
	r := newRig(t, servers.EtcdOptions{User: "runner", Password: "opensesame", Fast: true, Args: []string{"--auth-token-ttl=1"}})
	file := func(password string) string {
		path := filepath.Join(t.TempDir(), "password")
		r.must(os.WriteFile(path, []byte(password), 0o600))
		return path
	}
	good := r.settings()
	good.User, good.PasswordFile = "runner", file("opensesame\n")

	bad := r.settings()
	r.refused(bad, lock.ErrDenied, "--user", "--password-file")
	bad.User, bad.PasswordFile = "runner", file("closesesame\n")
	r.refused(bad, lock.ErrDenied, "runner", "--password-file")
	bad.User = "nobody"
	r.refused(bad, lock.ErrDenied, "nobody")

	r.ctl("user", "add", "guest:sesame")
	guest := r.settings()
	guest.User, guest.PasswordFile = "guest", file("sesame")
	r.refused(guest, lock.ErrDenied, "guest", "prefix")

	// Changes of users make every token old; tokens that were not used expire.
	s := r.openWith(good)
	a := r.lead(s, "a")
	waiting := r.openWith(good)
	b := r.standBy(waiting, "b")
	idle := r.openWith(good)
	_, err := idle.Locker("e").Holder(t.Context())
	r.must(err)
	r.ctl("user", "add", "late:sesame")
	r.ctl("role", "add", "late")
	a.Survives(8, 2*testTTL)
	h, err := idle.Locker("e").Holder(t.Context())
	if err != nil || h.ID != "a" {
		t.Errorf("holder after the token expired: %+v, %v", h, err)
	}
	a.Release()
	b.Wins(prompt)
	r.ctl("auth", "disable")
	b.Survives(2, testTTL)
	b.Release()
}
