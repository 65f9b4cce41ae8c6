package lock

import (
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]URL{
		"file:":                          {Scheme: "file"},
		"ETCD:":                          {Scheme: "etcd"},
		"etcd://":                        {Scheme: "etcd"},
		"file:///var/lib/x":              {Scheme: "file", Path: "/var/lib/x"},
		"file:///var/lib/x//":            {Scheme: "file", Path: "/var/lib/x"},
		"file:///":                       {Scheme: "file", Path: "/"},
		"file:///a%20b%2Fc%2F":           {Scheme: "file", Path: "/a b/c"},
		"file:///srv/app@1":              {Scheme: "file", Path: "/srv/app@1"},
		"etcd://h":                       {Scheme: "etcd", Hosts: []string{"h"}},
		"etcd://h:2379/":                 {Scheme: "etcd", Hosts: []string{"h:2379"}, Path: "/"},
		"etcd://h1:1,[::1]:2,10.0.0.1/p": {Scheme: "etcd", Hosts: []string{"h1:1", "[::1]:2", "10.0.0.1"}, Path: "/p"},
		"etcd:///p%40q":                  {Scheme: "etcd", Path: "/p@q"},
		"etcd://h/p%40q":                 {Scheme: "etcd", Hosts: []string{"h"}, Path: "/p@q"},
		"zk://h:1/a?session=1&b=%2F&b":   {Scheme: "zk", Hosts: []string{"h:1"}, Path: "/a", Params: url.Values{"session": {"1"}, "b": {"/", ""}}},
		"consul:?dc=east":                {Scheme: "consul", Params: url.Values{"dc": {"east"}}},
		"etcd://h?":                      {Scheme: "etcd", Hosts: []string{"h"}},
		"etcd://h/%E2%98%83":             {Scheme: "etcd", Hosts: []string{"h"}, Path: "/☃"},
		"file:////double":                {Scheme: "file", Path: "//double"},
		"a+b-c.9://h":                    {Scheme: "a+b-c.9", Hosts: []string{"h"}},
	} {
		got, err := ParseURL(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v; want %#v", raw, got, err, want)
		}
		if again, err := ParseURL(got.String()); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: written %s, read %#v, %v", raw, got, again, err)
		}
	}
}

func TestParseURLErrors(t *testing.T) {
	for raw, want := range map[string]string{
		"":                            "no scheme",
		"/var/lib/x":                  "no scheme",
		"/var:x":                      "no scheme",
		"h 1:2379":                    "no scheme",
		"1st:":                        "no scheme",
		":2379":                       "no scheme",
		"localhost:2379":              "either nothing or //",
		"file:/var/lib":               "either nothing or //",
		"etcd://root:secret@h:2379/p": "--user and --password-file",
		"etcd://root:sec/ret@h:2379":  "--user and --password-file",
		"etcd:root:secret@h":          "--user and --password-file",
		"secret@h:2379":               "--user and --password-file",
		"root:secret@h":               "--user and --password-file",
		"/secret@h:///x":              "--user and --password-file",
		"etcd:///root:secret@h:2379":  "--user and --password-file",
		"etcd://h/p?password=secret@": "--user and --password-file",
		"etcd://h1 ,h2":               "space or control character",
		"etcd://h\n":                  "space or control character",
		"etcd://h/%00":                "path: control character",
		"file:///a%FFb":               "path: control character, or not UTF-8",
		"consul:?dc=%0A":              "parameters after ?: control character",
		"consul:?dc=%FF":              "parameters after ?: control character, or not UTF-8",
		"etcd://h/%zz":                "path: ",
		"etcd://h?a=%zz":              "parameters after ?",
		"etcd://h#x":                  "fragment",
		"etcd://h1,,h2":               `host ""`,
		"etcd://,":                    `host ""`,
		"etcd://:2379":                "HOST:PORT",
		"etcd://h:":                   "port from 1 to 65535",
		"etcd://h:0":                  "port from 1 to 65535",
		"etcd://h:65536":              "port from 1 to 65535",
		"etcd://h:+80":                "port from 1 to 65535",
		"etcd://h:http":               "port from 1 to 65535",
		"etcd://::1":                  "[ADDRESS]:PORT",
	} {
		u, err := ParseURL(raw)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--store") {
			t.Errorf("%s: %+v, %v; want --store and %q", raw, u, err, want)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec") && strings.Contains(raw, "sec/ret") {
			t.Errorf("%s: the error tells the password: %v", raw, err)
		}
	}
}

// Settings go to the guard and to the release command as JSON.
func TestSettingsJSON(t *testing.T) {
	u, err := ParseURL("etcd://h1:1,h2:2/p%40q?x=1")
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{URL: u, TLS: true, TLSCA: "/ca", User: "root", PasswordFile: "/pw", DefaultTimeout: Timing{Interval: 1, Request: 2, Margin: 3}}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Settings
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, %v", b, got, err)
	}
}

func TestCheckText(t *testing.T) {
	for want, s := range map[string]Settings{
		"--tls-ca": {TLSCA: "/\xff"}, "--password-file": {PasswordFile: "/\xe4"}, "--user": {User: "\xc3("},
		"--store": {URL: URL{Params: url.Values{"ns": {"\xff"}}}},
	} {
		if err := s.CheckText(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %s", s, err, want)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, raw := range []string{
		"file:", "file:///var/lib/x", "etcd://h1:1,[::1]:2/p?x=1", "etcd://root:secret@h", "a@b:c", "x:///@?@", "x://h/%40%2F%3F%23",
		"X://h,h:1//a//?&;=", "x:////", "file:///%ff", "consul:?dc=%ff", "x://[::1%25eth0]:1",
	} {
		f.Add(raw)
	}
	const secretRefused = "a user or password does not belong in the URL"
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseURL(raw)
		if err != nil {
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "--store") {
				t.Errorf("%q: %v", raw, err)
			}
			if strings.Contains(raw, "@") && !strings.HasPrefix(strings.ToLower(raw), "file:///") && !strings.Contains(err.Error(), secretRefused) {
				t.Errorf("%q may hold a password: %v", raw, err)
			}
			return
		}
		if strings.Contains(raw, "@") && len(u.Hosts) > 0 {
			t.Errorf("%q is taken, with a user: %#v", raw, u)
		}
		again, err := ParseURL(u.String())
		if err != nil || !reflect.DeepEqual(u, again) {
			t.Errorf("%q: %#v, written %q, read %#v, %v", raw, u, u, again, err)
		}
		if err := (Settings{URL: u}).CheckText(); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
		b, err := json.Marshal(u)
		var sent URL
		if err != nil || json.Unmarshal(b, &sent) != nil || !reflect.DeepEqual(u, sent) {
			t.Errorf("%q: %#v, sent as %s", raw, u, b)
		}
	})
}

func TestParseURLRefusesOddHosts(t *testing.T) {
	for _, raw := range []string{"etcd://%zz/p", "etcd://a b:1/p", "etcd://h!:1", "etcd://[::1%25]:1:2"} {
		if u, err := ParseURL(raw); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, %v", raw, u, err)
		}
	}
	for _, raw := range []string{"etcd://[fe80::1%eth0]:2379", "etcd://my_host-1.example.org:1", "etcd://10.0.0.1"} {
		if _, err := ParseURL(raw); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// What one candidate writes its store's addresses as, all do.
func FuzzCanonicalHosts(f *testing.F) {
	for _, hosts := range []string{"h", "B:1,a", "[::1]:2379,::1", "[0:0::1%eth0]:1", "h:01,h:1", "http://h:1", "root:sesame@h:1"} {
		f.Add(hosts)
	}
	f.Fuzz(func(t *testing.T, list string) {
		hosts, err := CanonicalHosts("--store", strings.Split(list, ","), "2379")
		if err != nil {
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "--store") || strings.Contains(err.Error(), "@") {
				t.Errorf("%q: %v", list, err)
			}
			return
		}
		if again, err := CanonicalHosts("--store", hosts, "1"); err != nil || !reflect.DeepEqual(again, hosts) {
			t.Errorf("%q: %q, again %q, %v", list, hosts, again, err)
		}
		slices.Reverse(hosts)
		if again, err := CanonicalHosts("--store", append(hosts, hosts[0]), "1"); err != nil || !slices.IsSorted(again) || len(again) != len(hosts) {
			t.Errorf("%q: %q, again %q, %v", list, hosts, again, err)
		}
	})
}
