//go:build unix

package file

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// leads is the state of a tenure with that token.
func leads(token lock.Token) state {
	return state{Record: lock.Record{Token: token, State: lock.Held, Owner: "o", Host: &lock.HostRecord{BootID: "b"}}}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever stands in the newest version: it is read as written, or was cut short so
// that the one before it counts, or people are told of it. It never makes a tenure
// that goes on into none, and the token after it is a greater one.
func FuzzState(f *testing.F) {
	for _, s := range []string{
		"", "{", "{}", "null", `{"record":null}`, `{"record":{}}`, "\x00\x00", string(leads(9).encode()), string(leads(9).encode()[:30]),
		`{"record":{"token":9,"state":"held","owner":"o"}}`, `{"record":{"token":9,"state":"later","owner":"o","host_record":{"boot_id":"b"}}}`,
		strings.Replace(string(leads(9).encode()), ":9,", ":18446744073709551615,", 1),
	} {
		f.Add([]byte(s))
	}
	path := f.TempDir()
	l := openAt(f, path).Locker("job").(*locker)
	f.Fuzz(func(t *testing.T, data []byte) {
		d := l.dir
		if err := errors.Join(os.RemoveAll(string(d)), d.make()); err != nil {
			t.Fatal(err)
		}
		before := leads(5)
		write(t, d.file(1), before.encode())
		write(t, d.file(2), data)
		got, err := d.read()
		want, bad := decodeState(data)
		switch {
		case bad == nil:
			if again, err := decodeState(want.encode()); err != nil || !reflect.DeepEqual(again, want) {
				t.Errorf("%q: %+v, again %+v, %v", data, want, again, err)
			}
			want.version = 2
		case json.Valid(data):
			if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), d.file(2)) || got.Record.State != "" {
				t.Errorf("%q: %+v, %v; want an error that names the file", data, got, err)
			}
			return
		default:
			want = before
			want.version = 1
		}
		want.newest = 2
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %+v, %v; want %+v", data, got, err, want)
		}
		q := &campaign{locker: l, file: &lockFile{}, owner: "next"}
		token, replaced, err := q.writeHeld(got.Record.Owner)
		if refused := errors.Is(err, lock.ErrConfig) && strings.Contains(err.Error(), "no fencing token"); !refused && (err != nil || token <= got.Record.Token) {
			t.Errorf("%q: token %d after %d, %v", data, token, got.Record.Token, err)
		} else if !refused && !reflect.DeepEqual(replaced, got.Record) {
			t.Errorf("%q: replaced %+v, want %+v", data, replaced, got.Record)
		}
	})
}

// A name beside the versions is one of them, with a number that can be counted on
// from, or is left alone.
func FuzzVersionName(f *testing.F) {
	for _, name := range []string{
		"2.json", "02.json", "+2.json", "-2.json", "2", "2.json.json", "2.JSON", "9223372036854775807.json", "9223372036854775808.json", "tmp-1", "1_0.json",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		d := dir(t.TempDir())
		write(t, d.file(1), leads(5).encode())
		if os.WriteFile(filepath.Join(string(d), filepath.Base(name)), leads(6).encode(), 0o600) != nil {
			return // no name of a file
		}
		s, err := d.read()
		if err != nil || s.Record.Token != 5 && s.Record.Token != 6 {
			t.Fatalf("%q: %+v, %v", name, s, err)
		}
		err = d.update(false, func(s *state) error { s.Record.Token = 7; return nil })
		if errors.Is(err, lock.ErrConfig) && strings.Contains(err.Error(), "remove it") {
			return
		}
		if s, rerr := d.read(); err != nil || rerr != nil || s.Record.Token != 7 {
			t.Errorf("%q: %+v, %v, %v", name, s, err, rerr)
		}
	})
}

// A request that nobody understands asks for nothing.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{`{"nonce":"1","request":{"token":5,"action":"step-down"}}`, `{"request":{"token":5}}`, "{", "null", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := dir(t.TempDir())
		write(t, d.requestFile(), data)
		in := inbox{dir: d, token: 5}
		r, ok := in.look()
		if ok && r.Token != 5 {
			t.Errorf("%q: %+v is for another tenure", data, r)
		}
		if again, ok := in.look(); ok {
			t.Errorf("%q: %+v came again", data, again)
		}
	})
}

// A ticket of nobody's gives nothing back.
func FuzzTicket(f *testing.F) {
	for _, s := range []string{`{"election":"job","owner":"o"}`, `{"election":"job","owner":""}`, `{"election":"../job","owner":"o"}`, "null", ""} {
		f.Add([]byte(s))
	}
	path := f.TempDir()
	st := openAt(f, path)
	d := dir(filepath.Join(path, "job.d"))
	if err := d.make(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		write(t, d.file(1), leads(5).encode())
		err := st.Release(t.Context(), lock.Ticket{Data: data})
		if err != nil && !errors.Is(err, lock.ErrConfig) && !errors.Is(err, lock.ErrUnavailable) {
			t.Errorf("%q: %v", data, err)
		}
		s, rerr := d.read()
		var named ticket
		its := json.Unmarshal(data, &named) == nil && named.Election == "job" && named.Owner == "o"
		if rerr != nil || (s.Record.State == lock.Clean) != its {
			t.Errorf("%q: %v, then %+v, %v", data, err, s.Record, rerr)
		}
		_ = os.Remove(d.file(2))
	})
}

// What bears the name of a version and is no file of ours is an error that says so,
// and makes nobody wait.
func TestForeignFile(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"device":    func(path string) error { return os.Symlink("/dev/zero", path) },
		"huge":      func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
	} {
		d := newDir(t)
		if err := put(d.file(1)); err != nil {
			t.Fatal(err)
		}
		if err := put(d.requestFile()); err != nil {
			t.Fatal(err)
		}
		if s, err := d.read(); !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), d.file(1)) {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
		if r, ok := (&inbox{dir: d}).look(); ok {
			t.Errorf("%s: asks for %+v", what, r)
		}
	}
}
