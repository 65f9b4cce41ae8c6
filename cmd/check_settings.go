//go:build unix

package cmd

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"leaderrun/lock"
)

// natives are the variables of a store's ecosystem that lock's stores honour, by
// the flag whose place they take. They are asked only about settings that a store
// has filled in.
var natives = map[string]map[string]string{
	"etcd": {
		"tls-ca": "ETCDCTL_CACERT", "tls-cert": "ETCDCTL_CERT", "tls-key": "ETCDCTL_KEY", "user": "ETCDCTL_USER",
	},
	"consul": {
		"tls-ca": "CONSUL_CACERT", "tls-cert": "CONSUL_CLIENT_CERT", "tls-key": "CONSUL_CLIENT_KEY",
		"tls-server-name": "CONSUL_TLS_SERVER_NAME", "user": "CONSUL_HTTP_AUTH",
	},
}

// addresses are those that say where a store is, if the URL does not.
var addresses = map[string]string{"etcd": "ETCDCTL_ENDPOINTS", "consul": "CONSUL_HTTP_ADDR"}

// places are those of a store that stand for a parameter of the URL.
var places = map[string]map[string]string{"consul": {"ns": "CONSUL_NAMESPACE", "partition": "CONSUL_PARTITION"}}

// A secret is a variable that may hold one, and when it counts.
type secret struct {
	scheme, topic, variable string
	counts                  func(s lock.Settings) bool
}

var secrets = []secret{
	{"etcd", "password", "ETCDCTL_PASSWORD", func(s lock.Settings) bool { return s.User != "" && s.PasswordFile == "" }},
	{"etcd", "password", "ETCDCTL_USER", func(s lock.Settings) bool {
		return s.User != "" && s.PasswordFile == "" && holdsPasswordOf("ETCDCTL_USER", s.User)
	}},
	{"consul", "token", "CONSUL_HTTP_TOKEN_FILE", func(s lock.Settings) bool { return s.ACLTokenFile == "" }},
	{"consul", "token", "CONSUL_HTTP_TOKEN", func(s lock.Settings) bool { return s.ACLTokenFile == "" }},
	{"consul", "password", "CONSUL_HTTP_AUTH", func(s lock.Settings) bool {
		return s.User != "" && s.PasswordFile == "" && holdsPasswordOf("CONSUL_HTTP_AUTH", s.User)
	}},
}

func holdsPasswordOf(variable, user string) bool {
	u, password, _ := strings.Cut(os.Getenv(variable), ":")
	return u == user && password != ""
}

// origins are the flags that were given, before variables set any.
type origins map[string]bool

func flagsGiven(f *pflag.FlagSet) origins {
	given := origins{}
	f.Visit(func(flag *pflag.Flag) { given[flag.Name] = true })
	return given
}

// A setting in force.
type setting struct{ name, value, origin string }

// inForce lists what a run would go by; s is what became of it for the store.
func inForce(o *options, f *pflag.FlagSet, s lock.Settings, from origins) []setting {
	resolved := resolvedValues(o, s)
	job := pflag.NewFlagSet("", pflag.ContinueOnError) // a check goes by none of these
	new(jobOptions).bind(job)
	var list []setting
	f.VisitAll(func(flag *pflag.Flag) {
		name, value := flag.Name, flag.Value.String()
		if v, ok := resolved[name]; ok {
			value = v
		}
		unset := value == "" || value == "false" || value == "[]" || job.Lookup(name) != nil
		if name == "help" || unset && !flag.Changed {
			return
		}
		list = append(list, setting{name, value, origin(flag, s, from)})
	})
	for _, sec := range secrets {
		if sec.scheme == s.URL.Scheme && os.Getenv(sec.variable) != "" && sec.counts(s) {
			value := "set"
			if strings.HasSuffix(sec.variable, "_FILE") {
				value = "in " + os.Getenv(sec.variable)
			}
			list = append(list, setting{sec.topic, value, "variable " + sec.variable})
			break
		}
	}
	return list
}

// resolvedValues are those that differ from what the flags say. A URL that could
// not be read is not shown: it may hold a password.
func resolvedValues(o *options, s lock.Settings) map[string]string {
	m := map[string]string{
		"store": "?", "name": o.name, "tls": fmt.Sprint(s.TLS), "tls-ca": s.TLSCA, "tls-cert": s.TLSCert, "tls-key": s.TLSKey,
		"tls-server-name": s.TLSServerName, "user": s.User, "password-file": s.PasswordFile, "acl-token-file": s.ACLTokenFile,
	}
	if s.URL.Scheme != "" {
		m["store"] = s.URL.String()
	}
	for name, d := range map[string]duration{"ttl": o.ttl, "loss-grace": o.lossGrace, "wait": o.wait, "stop-timeout": o.stopTimeout, "catch-up": o.catchUp, "health-interval": o.healthInterval, "hook-timeout": o.hookTimeout} {
		m[name] = rounded(time.Duration(d))
	}
	if o.wait == 0 {
		m["wait"] = "for ever"
	}
	return m
}

// origin says where a setting comes from.
func origin(flag *pflag.Flag, s lock.Settings, from origins) string {
	native := natives[s.URL.Scheme][flag.Name]
	switch {
	case flag.Name == "store":
		return given(flag, from) + besidesURL(flag.Value.String(), s.URL)
	case flag.Changed:
		return given(flag, from)
	case native != "" && os.Getenv(native) != "":
		return "variable " + native
	case flag.Name == "tls":
		return whyTLS(s)
	case flag.Name == "loss-grace":
		return "default: a third of --ttl, at most 5s and what the lease leaves"
	case flag.Name == "name":
		return "default of check"
	}
	return "default"
}

// besidesURL names the variables that have completed a URL.
func besidesURL(raw string, full lock.URL) string {
	u, err := lock.ParseURL(raw)
	if err != nil {
		return ""
	}
	also := ""
	if v := addresses[u.Scheme]; len(u.Hosts) == 0 && !u.Params.Has("socket") && os.Getenv(v) != "" {
		also += " and variable " + v
	}
	for param, v := range places[u.Scheme] {
		if !u.Params.Has(param) && full.Params.Has(param) {
			also += " and variable " + v
		}
	}
	return also
}

// whyTLS says what has turned TLS on, if not its flag.
func whyTLS(s lock.Settings) string {
	if on, _ := strconv.ParseBool(os.Getenv("CONSUL_HTTP_SSL")); on && s.URL.Scheme == "consul" {
		return "variable CONSUL_HTTP_SSL"
	}
	if v := addresses[s.URL.Scheme]; strings.HasPrefix(os.Getenv(v), "https://") {
		return "variable " + v
	}
	return "follows from what is below"
}

func given(flag *pflag.Flag, from origins) string {
	if from[flag.Name] {
		return "flag --" + flag.Name
	}
	return "variable " + variable(flag.Name)
}
