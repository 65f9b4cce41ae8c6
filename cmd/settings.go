//go:build unix

package cmd

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"leaderrun/lock"
	"leaderrun/lock/stores"
	"leaderrun/supervisor"
)

// options are the settings of a campaign as the user gave them: a flag, else
// the variable LEADERRUN_<FLAG>, else the default.
type options struct {
	jobOptions
	store, name, id        string
	ttl, lossGrace, wait   duration
	try, exitOnLoss        bool
	conflictStatus         int
	stopSignal             stopSignal
	stopTimeout            duration
	labels                 map[string]string
	listen                 string
	logFormat              string
	logLevel               string
	tls                    bool
	tlsCA, tlsCert, tlsKey string
	tlsServerName          string
	user, passwordFile     string
	aclTokenFile           string
	defaultGrace           bool // lossGrace was not given: settings fills it in
}

// duration is a time.Duration whose error says how to write one.
type duration time.Duration

func (d *duration) String() string { return time.Duration(*d).String() }
func (d *duration) Type() string   { return "duration" }

// longest is ten years: what is added to a clock must not come out before it.
const longest = 87600 * time.Hour

func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: write it like 15s, 500ms or 1m30s", s)
	}
	if v > longest {
		return fmt.Errorf("%q is longer than %v", s, longest)
	}
	*d = duration(v)
	return nil
}

// bind declares the flags of everything that campaigns.
func (o *options) bind(f *pflag.FlagSet) {
	o.ttl, o.stopTimeout, o.stopSignal = defaultTTL, duration(8*time.Second), defaultStopSignal
	o.bindPlace(f)
	f.StringVar(&o.id, "id", "", usage["id"])
	f.Var(&o.ttl, "ttl", usage["ttl"])
	f.Var(&o.lossGrace, "loss-grace", usage["loss-grace"])
	f.Var(&o.wait, "wait", usage["wait"])
	f.BoolVar(&o.try, "try", false, usage["try"])
	f.IntVarP(&o.conflictStatus, "conflict-exit-code", "E", exitNotElected, usage["conflict-exit-code"])
	f.BoolVar(&o.exitOnLoss, "exit-on-loss", false, usage["exit-on-loss"])
	f.Var(&o.stopSignal, "stop-signal", usage["stop-signal"])
	f.Var(&o.stopTimeout, "stop-timeout", usage["stop-timeout"])
	o.jobOptions.bind(f)
	f.StringToStringVar(&o.labels, "label", nil, usage["label"])
	f.StringVar(&o.listen, "listen", "", usage["listen"])
	f.StringVar(&o.logFormat, "log-format", "text", usage["log-format"])
	f.StringVar(&o.logLevel, "log-level", "info", usage["log-level"])
	o.bindAccess(f)
	for _, name := range []string{"loss-grace", "wait", "label"} {
		f.Lookup(name).DefValue = "" // no default, or one that its text tells
	}
}

const defaultTTL = duration(15 * time.Second)

// bindPlace declares the flags that say which election is meant.
func (o *options) bindPlace(f *pflag.FlagSet) {
	f.StringVar(&o.store, "store", "", usage["store"])
	f.StringVar(&o.name, "name", "", usage["name"])
}

// bindAccess declares the flags of how the store is reached.
func (o *options) bindAccess(f *pflag.FlagSet) {
	f.BoolVar(&o.tls, "tls", false, usage["tls"])
	f.StringVar(&o.tlsCA, "tls-ca", "", usage["tls-ca"])
	f.StringVar(&o.tlsCert, "tls-cert", "", usage["tls-cert"])
	f.StringVar(&o.tlsKey, "tls-key", "", usage["tls-key"])
	f.StringVar(&o.tlsServerName, "tls-server-name", "", usage["tls-server-name"])
	f.StringVar(&o.user, "user", "", usage["user"])
	f.StringVar(&o.passwordFile, "password-file", "", usage["password-file"])
	f.StringVar(&o.aclTokenFile, "acl-token-file", "", usage["acl-token-file"])
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "LEADERRUN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnvironment sets the flags that were not given from their variables.
func fromEnvironment(f *pflag.FlagSet) error {
	var err error
	f.VisitAll(func(flag *pflag.Flag) {
		value := os.Getenv(variable(flag.Name))
		if flag.Changed || value == "" || err != nil || flag.Name == "help" || flag.Name == "version" {
			return
		}
		if serr := f.Set(flag.Name, value); serr != nil {
			err = usagef("%s: %w", variable(flag.Name), unwrapFlag(serr))
		}
	})
	return err
}

// unwrapFlag drops pflag's preamble, which repeats the flag's name.
func unwrapFlag(err error) error {
	if _, text, ok := strings.Cut(err.Error(), " flag: "); ok {
		return fmt.Errorf("%s", text)
	}
	return err
}

// check refuses what cannot work before anything is started.
func (o *options) check(f *pflag.FlagSet) error {
	switch {
	case o.store == "":
		return usagef("--store is missing: say where candidates meet, for example --store file: (this host only) or --store etcd://HOST:2379")
	case o.name == "":
		return usagef("--name is missing: name the election, for example --name backup")
	case o.try && o.wait > 0:
		return usagef("--try and --wait exclude each other: --try is one attempt")
	case o.conflictStatus < 0 || o.conflictStatus > 255:
		return usagef("--conflict-exit-code %d is not an exit status: give 0 to 255", o.conflictStatus)
	case o.ttl <= 0:
		return usagef("--ttl 0s is no lease: give a duration such as 15s")
	}
	if err := checkName(o.name); err != nil {
		return err
	}
	if strings.IndexFunc(o.id, unicode.IsControl) >= 0 || !utf8.ValidString(o.id) || len(o.id) > maxName {
		return usagef("--id %q: give at most %d bytes of text without control characters", o.id, maxName)
	}
	for key, value := range o.labels {
		if !utf8.ValidString(key + value) {
			return usagef("--label %q: a label is UTF-8", key)
		}
		if len(key)+len(value) > maxName {
			return usagef("--label %q: a label has at most %d bytes", key, maxName)
		}
		if key == "" || strings.ContainsFunc(key, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '"' }) {
			return usagef("--label %q: write KEY=VALUE, KEY without spaces", key)
		}
	}
	if err := o.checkListen(); err != nil {
		return err
	}
	o.defaultGrace = !f.Changed("loss-grace")
	if err := o.jobOptions.check(f); err != nil {
		return err
	}
	if o.quiet() && !f.Changed("log-level") {
		o.logLevel = "warn"
	}
	return nil
}

// choices are all the values that a flag takes, nil if they cannot be listed.
func choices(flag string) []string {
	switch flag {
	case "rerun":
		return []string{string(supervisor.RerunNever), string(supervisor.RerunInterrupted), string(supervisor.RerunFailed)}
	case "restart":
		return []string{string(supervisor.RestartNo), string(supervisor.RestartOnFailure), string(supervisor.RestartAlways)}
	case "log-format":
		return []string{"text", "json"}
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	}
	return nil
}

// oneOf refuses a value that is no choice.
func oneOf(flag, value string) error {
	all := choices(flag)
	if slices.Contains(all, value) {
		return nil
	}
	last := len(all) - 1
	return usagef("--%s %q: use %s or %s", flag, value, strings.Join(all[:last], ", "), all[last])
}

// maxName leaves room for the endings that a store adds to a file name of 255.
const maxName = 200

func checkName(name string) error {
	switch {
	case strings.Contains(name, "/"):
		return usagef("--name %q: a name has no '/': put a path into --store, for example etcd://HOST/PREFIX", name)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return usagef("--name %q: a name has no control characters and is UTF-8", name)
	case name == "." || name == ".." || len(name) > maxName:
		return usagef("--name %q: give a name of at most %d bytes other than '.' and '..'", name, maxName)
	}
	return nil
}

// settings returns how to reach the store, with every default filled in.
func (o *options) settings() (lock.Settings, error) {
	s, err := o.unresolved()
	if err != nil {
		return s, err
	}
	if o.defaultGrace {
		o.lossGrace = min(o.ttl/3, duration(5*time.Second), duration(s.DefaultTimeout.MostGrace.Truncate(10*time.Millisecond)))
	}
	if err = o.fits(o.lossGrace); err != nil {
		return s, err
	}
	if s, err = stores.Resolve(s); err != nil {
		return s, err
	}
	return s, o.ticket(s, lock.Ticket{}).fits()
}

// reach is settings for who takes part in no election.
func (o *options) reach() (lock.Settings, error) {
	s, err := o.unresolved()
	if err != nil {
		return s, err
	}
	return stores.Resolve(s)
}

// unresolved are the settings as the flags have them, with the bounds of requests.
func (o *options) unresolved() (lock.Settings, error) {
	u, err := lock.ParseURL(o.store)
	if err != nil {
		return lock.Settings{}, err
	}
	s := lock.Settings{
		URL: u, TLS: o.tls, TLSCA: o.tlsCA, TLSCert: o.tlsCert, TLSKey: o.tlsKey,
		TLSServerName: o.tlsServerName, User: o.user, PasswordFile: o.passwordFile, ACLTokenFile: o.aclTokenFile,
	}
	s.DefaultTimeout, err = stores.Timing(s, time.Duration(o.ttl), time.Duration(o.lossGrace))
	return s, err
}
