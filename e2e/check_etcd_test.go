//go:build linux

package e2e

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// A checkedEtcd is one that checks must leave as it was.
type checkedEtcd struct {
	*servers.Etcd
	t testing.TB
}

func checkableEtcd(t testing.TB, o servers.EtcdOptions) checkedEtcd {
	t.Helper()
	o.Fast = true
	return checkedEtcd{servers.StartEtcd(t, o), t}
}

func (e checkedEtcd) ctl(args ...string) string {
	e.t.Helper()
	out, err := e.Ctl(args...)
	must(e.t, err)
	return strings.TrimSpace(out)
}

func (e checkedEtcd) leases() int {
	e.t.Helper()
	return strings.Count(e.ctl("lease", "list"), "\n") // after the line that says how many
}

// empty asserts that a check has left neither key nor lease.
func (e checkedEtcd) empty() {
	e.t.Helper()
	if keys := e.ctl("get", "", "--from-key", "--keys-only"); keys != "" {
		e.t.Errorf("keys left behind: %s", keys)
	}
	if n := e.leases(); n != 0 {
		e.t.Errorf("%d leases left behind", n)
	}
}

// A healthy etcd, what is asked and what is granted, and members that are down.
func TestCheckEtcd(t *testing.T) {
	t.Parallel()
	e := checkableEtcd(t, servers.EtcdOptions{Nodes: 3})
	check(t, nil, "--store", e.URL(), "--ttl", "5s").clean().says(
		"ok address "+e.Endpoints()[2]+" answers", "ok version etcd 3", "ok tls off", "ok login none: etcd asks for no user",
		"ok lease 5s granted, as --ttl asks", "ok next leader by 8s:")
	// Whole seconds, and two at least.
	check(t, nil, "--store", e.URL(), "--ttl", "1100ms", "--loss-grace", "100ms").exits(0, patient).
		says("ok lease 2s granted where --ttl asks for 1.1s", "ok KILL at 1.75s")
	check(t, nil, "--store", e.URL(), "--ttl", "500ms").exits(78, patient).says("error settings .*--ttl")
	e.empty()

	must(t, e.Kill(1))
	waitFor(t, "a leader among the two", patient, func() bool { _, err := e.Leader(); return err == nil })
	check(t, nil, "--store", e.URL()).exits(0, patient).
		says("warning address .*" + e.Endpoints()[1] + ".*refused")
	must(t, e.Kill(0))
	check(t, nil, "--store", e.URL(), "--ttl", "5s").exits(69, 10*time.Second).
		says("error .*store unavailable", "warning clean up ", "exit status 69: ")
	must(t, e.Pause(2))
	check(t, nil, "--store", e.URL(), "--ttl", "5s").exits(69, 5*time.Second).
		says("error address .*" + e.Endpoints()[2] + ": no answer in time")
	must(t, e.Resume(2))
	must(t, e.Restart(0))
	check(t, nil, "--store", e.URL()).exits(0, patient)
	// Without a majority nothing can be removed, but it ends by itself.
	waitFor(t, "the end of unanswered leases", patient, func() bool { return e.leases() == 0 })
	e.empty()
}

// An election that is led, one that a key without a lease blocks for ever, and one
// whose record is somebody else's.
func TestCheckEtcdElection(t *testing.T) {
	t.Parallel()
	e := checkableEtcd(t, servers.EtcdOptions{})
	cmd := exec.Command(leaderrunBin, "--store", e.URL(), "--name", "n", "--id", "a", "--", leaderrunBin, "check", "--store", e.URL(), "--name", "n")
	cmd.Env = cleanEnv()
	out, err := cmd.Output()
	must(t, err)
	(&checked{t: t, out: string(out)}).clean().says("ok election led by a on .* with fencing token ")
	e.ctl("put", "/leaderrun/other/queue/foreign", "x")
	check(t, nil, "--store", e.URL(), "--name", "other").exits(0, patient).
		says("warning election .*queue/foreign has no lease.*etcdctl del")
	e.ctl("put", "/leaderrun/odd/record", "x")
	check(t, nil, "--store", e.URL(), "--name", "odd").exits(78, patient).says("error read .*/leaderrun/odd/record")
}

// A role that lacks something, in turn: the line names what to grant and to whom.
func TestCheckEtcdRoles(t *testing.T) {
	t.Parallel()
	e := checkableEtcd(t, servers.EtcdOptions{User: "admin", Password: "admin-s3cret"})
	const secret = "runner-s3cret"
	e.ctl("user", "add", "runner:"+secret)
	e.ctl("role", "add", "elect")
	password := secretFile(t, secret)
	try := func() *checked {
		t.Helper()
		return check(t, nil, "--store", e.URL(), "--name", "n", "--user", "runner", "--password-file", password).hides(secret)
	}
	const grant = "etcdctl role grant-permission elect --prefix=true readwrite /leaderrun/n/"

	try().exits(77, patient).says("ok login user \"runner\"", "error create .*permission denied.*etcdctl user grant-role runner ROLE",
		"error read ", "error renew |ok renew ", "error delete ")
	e.ctl("user", "grant-role", "runner", "elect")
	for permission, lines := range map[string][]string{
		"read":  {"error create .*" + grant + "$", "ok read allowed", "ok renew allowed", "error delete .*" + grant + "$"},
		"write": {"ok create allowed", "error read .*" + grant + "$", "error renew .*" + grant + "$", "ok delete allowed"},
	} {
		e.ctl("role", "grant-permission", "elect", permission, "/leaderrun/n/", "--prefix=true")
		try().exits(77, patient).says(lines...)
		e.ctl("role", "revoke-permission", "elect", "/leaderrun/n/", "--prefix=true")
	}
	e.ctl("role", "grant-permission", "elect", "readwrite", "/leaderrun/m/", "--prefix=true")
	try().exits(77, patient).says("error create .*"+grant+"$", "error delete .*"+grant+"$")
	// What the hint says is enough.
	e.ctl(strings.Fields(grant)[1:]...)
	try().clean()

	// Who we are not.
	wrong := secretFile(t, "wrong-s3cret")
	check(t, nil, "--store", e.URL(), "--user", "runner", "--password-file", wrong).hides("wrong-s3cret").
		exits(77, 5*time.Second).says("ok address ", "error login .*\"runner\".*--password-file")
	check(t, nil, "--store", e.URL()).exits(77, 5*time.Second).says("error login .*--user")
	e.empty()
	e.ctl("auth", "disable")
	try().exits(0, patient).says("warning login user \"runner\" is not asked for")
}

// Certificates that a client must refuse, and those that are only about to end.
func TestCheckEtcdCertificates(t *testing.T) {
	t.Parallel()
	for flaw, line := range map[servers.ServerCert]string{
		servers.ServerCertExpired:    "error address .*expired",
		servers.ServerCertOtherHost:  "error address .*192.0.2.1.*--tls-server-name",
		servers.ServerCertSelfSigned: "error address .*unknown authority.*--tls-ca",
	} {
		t.Run(string(flaw), func(t *testing.T) {
			e := checkableEtcd(t, servers.EtcdOptions{TLS: true, ServerCert: flaw})
			check(t, nil, tlsFlags(e.URL(), e)...).exits(77, 5*time.Second).says(line)
		})
	}
	t.Run("right", func(t *testing.T) {
		e := checkableEtcd(t, servers.EtcdOptions{TLS: true})
		check(t, nil, tlsFlags(e.URL(), e)...).exits(0, patient).says(
			"warning tls .*: TLS 1.3, certificate for localhost, .* by leaderrun test authority, good until .*hours are left",
			"warning tls our certificate for leaderrun by leaderrun test authority")
		check(t, nil, tlsFlags(e.URL(), e)[:4]...).exits(77, 5*time.Second).says("error .*refuses our certificate.*--tls-cert")
		check(t, nil, "--store", e.URL()).exits(78, 5*time.Second).says("error address .*speaks TLS.*--tls")
		e.empty()
	})
	t.Run("none", func(t *testing.T) {
		e := checkableEtcd(t, servers.EtcdOptions{})
		check(t, nil, "--store", e.URL(), "--tls").exits(78, 5*time.Second).says("error address .*does not speak TLS")
	})
}

// Whatever ends a check, what it made is removed first.
func TestCheckEtcdInterrupted(t *testing.T) {
	t.Parallel()
	e := checkableEtcd(t, servers.EtcdOptions{})
	for name, end := range checkEndings {
		t.Run(name, func(t *testing.T) {
			h := holdCheck(t, "ok       create", "--store", e.URL())
			if keys := e.ctl("get", "/leaderrun/leaderrun-check/check/", "--prefix", "--keys-only"); keys == "" {
				t.Error("no key while it is held")
			}
			h.ends(end)
			e.empty()
		})
	}
}
