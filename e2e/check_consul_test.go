//go:build linux

package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// A checkedConsul is one that checks must leave as it was.
type checkedConsul struct {
	*servers.Consul
	t testing.TB
}

func checkableConsul(t testing.TB, o servers.ConsulOptions) checkedConsul {
	t.Helper()
	return checkedConsul{servers.StartConsul(t, o), t}
}

// empty asserts that a check has left neither key nor session.
func (c checkedConsul) empty() {
	c.t.Helper()
	for _, path := range []string{"/v1/kv/?keys&consistent", "/v1/session/list?consistent"} {
		if list := c.list(path); len(list) > 0 {
			c.t.Errorf("%s: left behind: %v", path, list)
		}
	}
}

func (c checkedConsul) list(path string) (list []any) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.Endpoints()[0]+path, nil)
	must(c.t, err)
	req.Header.Set("X-Consul-Token", c.Token())
	resp, err := http.DefaultClient.Do(req)
	must(c.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		must(c.t, json.NewDecoder(resp.Body).Decode(&list))
	}
	return list
}

// A healthy Consul, through a server and through an agent, and one that is down.
func TestCheckConsul(t *testing.T) {
	t.Parallel()
	c := checkableConsul(t, servers.ConsulOptions{Agents: 1})
	both := strings.Replace(c.URL(), "/leaderrun", ","+c.AgentEndpoints()[0]+"/leaderrun", 1)
	check(t, nil, "--store", both, "--ttl", "12s").clean().says(
		"ok address "+c.AgentEndpoints()[0]+" answers", "ok version Consul 1.*at ", "ok tls off", "ok login none: ",
		"ok lease 12s granted, as --ttl asks", "ok KILL at 11.75s", "ok next leader by 26s: ")
	check(t, nil, "--store", c.URL(), "--ttl", "5s").exits(78, patient).says("error lease .*10s .session_ttl_min.*set --ttl")
	c.empty()
	for name, end := range checkEndings {
		t.Run(name, func(t *testing.T) {
			h := holdCheck(t, "ok       create", "--store", c.URL())
			if len(c.list("/v1/kv/?keys&consistent")) == 0 {
				t.Error("no key while it is held")
			}
			h.ends(end)
			c.empty()
		})
	}
	must(t, c.KillAgent(0))
	check(t, nil, "--store", both).exits(0, patient).says("warning address .*" + c.AgentEndpoints()[0] + ".*refused")
	c.empty()
	must(t, c.Pause(0))
	check(t, nil, "--store", c.URL(), "--ttl", "10s").exits(69, 5*time.Second).says("error address .*no answer in time")
	must(t, c.Kill(0))
	check(t, nil, "--store", both).exits(69, 5*time.Second).says("error address .*"+c.Endpoints()[0]+".*refused", "exit status 69: 2 errors")
}

// A policy that lacks something, in turn: the line names the rule.
func TestCheckConsulPolicies(t *testing.T) {
	t.Parallel()
	c := checkableConsul(t, servers.ConsulOptions{ACL: true})
	try := func(rules string) *checked {
		t.Helper()
		_, token, err := c.NewToken(rules)
		must(t, err)
		return check(t, nil, "--store", c.URL(), "--name", "n", "--acl-token-file", secretFile(t, token)).hides(token)
	}
	const (
		keys    = `key_prefix "leaderrun/n/" { policy = "write" }`
		session = `session "leaderrun" { policy = "write" } node "leaderrun" { policy = "write" }`
	)
	try(session + keys).clean().says("ok login the ACL token in --acl-token-file: accessor .*, policies p-")
	try(`session_prefix "" { policy = "write" }`+keys).exits(0, patient).says("ok delete allowed")
	try(`session "n0" { policy = "write" }`+keys).exits(0, patient).says("warning session .*agent.*leaderrun", "ok delete allowed")
	try(keys).exits(77, patient).says("error lease .*--acl-token-file lacks " + session)
	try(session).exits(77, patient).says("error create .*"+keys, "error read ", "error delete .*"+keys)
	try(session+strings.Replace(keys, "write", "read", 1)).exits(77, patient).
		says("error create .*"+keys, "ok read allowed", "ok renew allowed", "error delete .*"+keys)
	try(session+strings.Replace(keys, "/n/", "/m/", 1)).exits(77, patient).says("error create .*"+keys, "error read .*"+keys)

	check(t, nil, "--store", c.URL()).exits(77, 5*time.Second).says("error lease .*--acl-token-file")
	accessor, token, err := c.NewToken(keys + session)
	must(t, err)
	must(t, c.DeleteToken(accessor))
	for _, token := range []string{token, "no-token"} {
		check(t, nil, "--store", c.URL(), "--acl-token-file", secretFile(t, token)).hides(token).
			exits(77, 5*time.Second).says("error login .*--acl-token-file")
	}
	c.empty()
}

func TestCheckConsulCertificates(t *testing.T) {
	t.Parallel()
	for flaw, line := range map[servers.ServerCert]string{
		servers.ServerCertExpired:    "error address .*expired",
		servers.ServerCertOtherHost:  "error address .*192.0.2.1.*--tls-server-name",
		servers.ServerCertSelfSigned: "error address .*unknown authority.*--tls-ca",
	} {
		t.Run(string(flaw), func(t *testing.T) {
			c := checkableConsul(t, servers.ConsulOptions{TLS: true, ServerCert: flaw})
			check(t, nil, tlsFlags(c.URL(), c)...).exits(77, 5*time.Second).says(line)
		})
	}
	t.Run("right", func(t *testing.T) {
		c := checkableConsul(t, servers.ConsulOptions{TLS: true})
		check(t, nil, tlsFlags(c.URL(), c)...).exits(0, patient).says(
			"warning tls .*: TLS 1.3, certificate for localhost, .* by leaderrun test authority, good until .*hours are left",
			"warning tls our certificate for leaderrun by ", "ok delete allowed")
		check(t, nil, tlsFlags(c.URL(), c)[:4]...).exits(77, 5*time.Second).says("error .*refuses our certificate.*--tls-cert")
		check(t, nil, "--store", c.URL()).exits(78, 5*time.Second).says("error address .*speaks TLS.*--tls")
	})
}
