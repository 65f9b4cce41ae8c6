//go:build linux

package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// A checkedZooKeeper is one that checks must leave as it was.
type checkedZooKeeper struct {
	*servers.ZooKeeper
	t      testing.TB
	before []string // its nodes below /leaderrun
}

func checkableZooKeeper(t testing.TB, o servers.ZooKeeperOptions) *checkedZooKeeper {
	t.Helper()
	o.Fast = true
	return &checkedZooKeeper{ZooKeeper: servers.StartZooKeeper(t, o), t: t}
}

func (z *checkedZooKeeper) nodes() []string {
	z.t.Helper()
	list, err := z.Nodes("/")
	must(z.t, err)
	list = slices.DeleteFunc(list, func(p string) bool { return strings.HasPrefix(p, "/zookeeper") })
	slices.Sort(list)
	return list
}

// unchanged asserts that there are the same nodes as before.
func (z *checkedZooKeeper) unchanged() {
	z.t.Helper()
	if now := z.nodes(); !slices.Equal(now, z.before) {
		z.t.Errorf("nodes before: %v, after: %v", z.before, now)
	}
}

// A healthy ZooKeeper, what is asked and what is granted, and one that is down.
func TestCheckZooKeeper(t *testing.T) {
	t.Parallel()
	z := checkableZooKeeper(t, servers.ZooKeeperOptions{Conf: []string{"maxSessionTimeout=12000"}})
	check(t, nil, "--store", z.URL(), "--ttl", "8s").clean().says(
		"ok address ", "ok version ZooKeeper 3", "ok tls off", "ok login none: ",
		"ok lease 8s granted, as --ttl asks", "ok KILL at 7.75s", "ok next leader by 13s after the very last: ")
	check(t, nil, "--store", z.URL(), "--ttl", "3s", "--loss-grace", "0s").exits(0, patient).
		says("ok lease 4s granted where --ttl asks for 3s")
	check(t, nil, "--store", z.URL(), "--ttl", "15s", "--loss-grace", "1s").exits(0, patient).
		says("warning lease 12s granted where --ttl asks for 15s", "ok KILL at 11.75s")
	// The grace that nobody asked for yields to the shorter lease; one that was asked for does not.
	check(t, nil, "--store", z.URL(), "--ttl", "30s").exits(0, patient).
		says("warning lease 12s granted where --ttl asks for 30s", "ok stop signal at 9.82s", "ok KILL at 11.75s")
	check(t, nil, "--store", z.URL(), "--ttl", "30s", "--loss-grace", "5s").exits(78, patient).says("error lease .*--ttl.*--loss-grace")
	z.unchanged()
	for name, end := range checkEndings {
		t.Run(name, func(t *testing.T) {
			h := holdCheck(t, "ok       create", "--store", z.URL(), "--ttl", "10s")
			if len(z.nodes()) == 0 {
				t.Error("no node while it is held")
			}
			h.ends(end)
			z.unchanged()
		})
	}
	must(t, z.Pause(0))
	check(t, nil, "--store", z.URL(), "--ttl", "8s").exits(69, 5*time.Second).says("error address .*no answer in time")
	must(t, z.Kill(0))
	check(t, nil, "--store", z.URL()).exits(69, 5*time.Second).says("error address .*refused")
}

// An ensemble of a version with a known bug, and a server that is down.
func TestCheckZooKeeperEnsemble(t *testing.T) {
	t.Parallel()
	z := checkableZooKeeper(t, servers.ZooKeeperOptions{Nodes: 3})
	c := check(t, nil, "--store", z.URL(), "--ttl", "8s").exits(0, patient).says("ok address " + z.Endpoints()[2] + " answers")
	if strings.Contains(c.out, "ZooKeeper 3.8.0 ") { // Debian's; others are not to be had here
		c.says("warning version .*ZOOKEEPER-4785.*at .*, .*, ")
	}
	must(t, z.Kill(2))
	waitFor(t, "a leader among the two", patient, func() bool { _, err := z.Leader(); return err == nil })
	check(t, nil, "--store", z.URL(), "--ttl", "8s").exits(0, patient).says("warning address .*" + z.Endpoints()[2] + ".*refused")
	z.unchanged()
}

// An ACL that lacks a letter, in turn: the line names it, the path and the user.
func TestCheckZooKeeperACLs(t *testing.T) {
	t.Parallel()
	z := checkableZooKeeper(t, servers.ZooKeeperOptions{})
	const user, secret = "runner", "runner-s3cret"
	password := secretFile(t, secret)
	flags := []string{"--store", z.URL(), "--name", "n", "--ttl", "8s", "--user", user, "--password-file", password}
	try := func(node, letters string) *checked {
		t.Helper()
		must(t, z.Give(node, letters, user, secret))
		z.before = z.nodes()
		c := check(t, nil, flags...).hides(secret)
		z.unchanged()
		must(t, z.Give(node, "cdrwa", user, secret))
		return c
	}
	lacks := func(topic, letter, node string) string {
		return "error " + topic + " .*credentials refused.*\"" + letter + "\" on " + node + " .*\"" + user + "\""
	}
	try("/leaderrun", "cd").clean().says(`ok login user "runner"`)
	try("/leaderrun", "drw").exits(77, patient).says(lacks("create", "c", "/leaderrun"))
	try("/leaderrun", "crw").exits(77, patient).says("ok create allowed", lacks("delete", "d", "/leaderrun"))

	// What an election has left so far.
	run := exec.Command(leaderrunBin, append(flags, "--", "true")...)
	run.Env = cleanEnv()
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const n = "/leaderrun/n"
	try(n, "cdw").exits(77, patient).says(lacks("read", "r", n))
	try(n+"/queue", "drw").exits(77, patient).says(lacks("create", "c", n+"/queue"))
	try(n+"/queue", "crw").exits(77, patient).says(lacks("delete", "d", n+"/queue"))
	try(n+"/queue", "cdw").exits(77, patient).says(lacks("read", "r", n+"/queue"))
	try(n+"/record", "cdr").exits(77, patient).says(lacks("renew", "w", n+"/record"))
	try(n+"/record", "cdw").exits(77, patient).says(lacks("read", "r", n+"/record"))
	try(n, "cdrw").clean()

	// Who we are not: ZooKeeper says nothing of a wrong password.
	wrong := slices.Replace(slices.Clone(flags), len(flags)-1, len(flags), secretFile(t, "wrong-s3cret"))
	check(t, nil, wrong...).hides("wrong-s3cret").exits(77, 5*time.Second).says("error create .*--password-file")
	check(t, nil, flags[:6]...).exits(77, 5*time.Second).says("error create .*nobody is logged in.*--user")
}

func TestCheckZooKeeperCertificates(t *testing.T) {
	t.Parallel()
	z := checkableZooKeeper(t, servers.ZooKeeperOptions{TLS: true, ServerCert: servers.ServerCertExpired})
	check(t, nil, tlsFlags(z.URL(), z)...).exits(77, 5*time.Second).says("error address .*expired")
	z = checkableZooKeeper(t, servers.ZooKeeperOptions{TLS: true})
	check(t, nil, append(tlsFlags(z.URL(), z), "--ttl", "8s")...).exits(0, patient).says(
		"warning tls .*: TLS 1.[23], certificate for localhost, .* by leaderrun test authority, good until .*hours are left",
		"warning tls our certificate for leaderrun by ", "ok version ZooKeeper 3", "ok delete allowed")
	check(t, nil, "--store", z.URL()).exits(78, 5*time.Second).says("error address .*speaks TLS.*--tls")
}
