//go:build unix

package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"leaderrun/lock"
	"leaderrun/supervisor/guard"
)

func TestMain(m *testing.M) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "LEADERRUN_") {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

// A duration that is taken is written as it was meant, and can be added to a clock.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"15s", "0", "-1s", "1h1m1.5s", "2562047h47m16.854775807s", "9999999h", "1e3s", "15"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d, again duration
		if err := d.Set(s); err != nil {
			return
		}
		if d < 0 || time.Duration(d) > longest || again.Set(d.String()) != nil || again != d {
			t.Errorf("%q: %v, again %v", s, d, again)
		}
	})
}

func FuzzStopSignal(f *testing.F) {
	for _, s := range []string{"TERM", "sigusr1", "15", "0", "-9", "65", "SIGSIGTERM", "RTMIN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var sig, again stopSignal
		if err := sig.Set(s); err != nil {
			return
		}
		if sig <= 0 || sig > 64 || sig.String() != "" && (again.Set(sig.String()) != nil || again != sig) {
			t.Errorf("%q: %d (%s), again %d", s, sig, sig.String(), again)
		}
	})
}

// fuzzed is every flag, in an order that does not change.
var fuzzed = []string{
	"store", "name", "id", "ttl", "loss-grace", "wait", "try", "conflict-exit-code", "exit-on-loss", "stop-signal", "stop-timeout", "label",
	"log-format", "log-level", "tls", "tls-ca", "tls-cert", "tls-key", "tls-server-name", "user", "password-file", "acl-token-file",
}

// A variable is taken, or refused in one line that names it or its flag; and what is
// taken comes to the release command unchanged.
func FuzzVariable(f *testing.F) {
	for i, value := range []string{"file:///%ff", "a\x80", "\x1b[2J", "1ns", "1000000h", "-1s", "maybe", "256", "2", "KILL9", "\xff", "a=b,\"c", "xml", "loud"} {
		f.Add(uint8(i), value)
	}
	f.Add(uint8(11), "k=\xff")
	f.Add(uint8(0), "etcd://root:sesame@h")
	f.Add(uint8(16), "/certificate\xe4")
	store := "file://" + f.TempDir()
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		name := fuzzed[int(which)%len(fuzzed)]
		if strings.ContainsRune(value, 0) {
			return // no environment holds that
		}
		t.Setenv("LEADERRUN_STORE", store)
		t.Setenv("LEADERRUN_NAME", "n")
		t.Setenv(variable(name), value)
		var o options
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.bind(flags)
		err := fromEnvironment(flags)
		if err == nil {
			err = o.check(flags)
		}
		var s lock.Settings
		if err == nil {
			_, lerr := logLevel(o.logLevel)
			if err = errors.Join(lerr, checkFormat(o.logFormat)); err == nil {
				s, err = o.settings()
			}
		}
		if err != nil {
			line, status := oneLine(err), exitStatus(err)
			named := strings.Contains(line, "--"+name) || strings.Contains(line, variable(name)) || name == "tls" || strings.HasPrefix(name, "tls-")
			if !named || status != exitUsage && status != exitConfig || strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("%s=%q: %d, %q", variable(name), value, status, line)
			}
			return
		}
		sent := o.ticket(s, lock.Ticket{Data: []byte(`{"election":"n"}`)})
		b, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readTicket(bytes.NewReader(b)); err != nil || !reflect.DeepEqual(got, sent) {
			t.Errorf("%s=%q: %+v, arrived as %+v, %v", variable(name), value, sent, got, err)
		}
	})
}

// A ticket that nobody can read gives nothing back.
func FuzzTicket(f *testing.F) {
	for _, s := range []string{"", "{}", "null", `{"Settings":{"URL":{"Scheme":"file","Path":"x"}},"Data":{}}`, `{"TTL":-1,"Labels":{"a":null}}`, "[" + strings.Repeat("[", 100)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		read, err := readTicket(bytes.NewReader(raw))
		if err != nil {
			return
		}
		b, err := json.Marshal(read)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		again, err := readTicket(bytes.NewReader(b))
		if written, _ := json.Marshal(again); err != nil || !bytes.Equal(written, b) {
			t.Errorf("%q: %s, again %s, %v", raw, b, written, err)
		}
	})
}

// A mark is one word that names one tenure of one election of one store.
func FuzzMark(f *testing.F) {
	f.Add("/a", "n", uint64(1), "/a", "n", uint64(11))
	f.Add("/a", "n#1", uint64(1), "/a#n", "1", uint64(1))
	f.Add("/a b", "", uint64(1), "/a+b", "\t", uint64(1))
	f.Fuzz(func(t *testing.T, path1, name1 string, token1 uint64, path2, name2 string, token2 uint64) {
		u1, u2 := lock.URL{Scheme: "file", Path: path1}, lock.URL{Scheme: "file", Path: path2}
		m1, m2 := mark(u1, name1, lock.Token(token1)), mark(u2, name2, lock.Token(token2))
		same := u1.String() == u2.String() && name1 == name2
		if (m1 == m2) != (same && token1 == token2) || len(strings.Fields(m1)) != 1 {
			t.Errorf("%q, %q", m1, m2)
		}
		t.Setenv(guard.MarkVariable, "x "+m1)
		if len(m1) < maxMarks-2 && (outsideItself(u2, name2) != nil) != same {
			t.Errorf("inside %q: %v", m1, outsideItself(u2, name2))
		}
	})
}

// What no guard's pipe would hold is refused, not tried again and again.
func TestTooManyLabels(t *testing.T) {
	o := options{store: "file://" + t.TempDir(), name: "n", ttl: duration(15 * time.Second), labels: map[string]string{}}
	if _, err := o.settings(); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		o.labels[strconv.Itoa(i)] = strings.Repeat("x", 100)
	}
	if _, err := o.settings(); exitStatus(err) != exitUsage || !strings.Contains(err.Error(), "--label") {
		t.Errorf("%v", err)
	}
}
