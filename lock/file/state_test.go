//go:build unix

package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"leaderrun/lock"
)

func newDir(t *testing.T) dir {
	t.Helper()
	d := dir(filepath.Join(t.TempDir(), "job.d"))
	if err := d.make(); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d dir) mustRead(t *testing.T) state {
	t.Helper()
	s, err := d.read()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// add is a change whose effect can be counted.
func add(key string) func(*state) error {
	return func(s *state) error {
		if s.Values == nil {
			s.Values = map[string][]byte{}
		}
		n, _ := strconv.Atoi(string(s.Values[key]))
		s.Values[key] = []byte(strconv.Itoa(n + 1))
		s.Record.State, s.Record.Owner, s.Record.Host = lock.Held, "owner", &lock.HostRecord{BootID: "boot"}
		s.Record.Token++
		return nil
	}
}

// No update gets lost between writers that hammer one state. Every one of them
// counts for itself, since a change may be made twice (see update): the last
// number is not smaller than the number of updates.
func TestUpdatesOfMany(t *testing.T) {
	d := newDir(t)
	const writers, updates = 6, 40
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range updates {
				want := i + 1
				err := d.update(i%10 == 0, func(s *state) error {
					if n, _ := strconv.Atoi(string(s.Values[strconv.Itoa(w)])); n >= want {
						return errSame
					}
					return add(strconv.Itoa(w))(s)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	s := d.mustRead(t)
	for w := range writers {
		if got := string(s.Values[strconv.Itoa(w)]); got != strconv.Itoa(updates) {
			t.Errorf("writer %d: %s updates, want %d", w, got, updates)
		}
	}
	if s.Record.Token != writers*updates {
		t.Errorf("%d updates, want %d", s.Record.Token, writers*updates)
	}
	if err := d.update(true, add("last")); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(string(d)); err != nil || len(names) != 1 {
		t.Errorf("%d files left: %v, %v", len(names), names, err)
	}
}

// A writer that was frozen between reading and writing changes nothing when it
// wakes, although the version that it writes is free again by then.
func TestFrozenWriter(t *testing.T) {
	d := newDir(t)
	if err := d.update(false, add("a")); err != nil {
		t.Fatal(err)
	}
	old := d.mustRead(t)
	for range 5 {
		if err := d.update(true, add("a")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(d.file(old.newest + 1)); err == nil {
		t.Fatal("old versions are kept: this tests nothing")
	}
	next := old
	next.Values = map[string][]byte{"a": []byte("stale")}
	if stored, err := d.swap(old, next, false); stored || err != nil {
		t.Errorf("swap of an old version: %v, %v", stored, err)
	}
	if got := string(d.mustRead(t).Values["a"]); got != "6" {
		t.Errorf("value %s, want 6", got)
	}
	if err := d.update(true, add("a")); err != nil {
		t.Fatal(err)
	}
	if versions, err := d.versions(); err != nil || len(versions) > 1 {
		t.Errorf("versions left: %v, %v", versions, err)
	}
}

// A Put that was given up is not made anew over what was written after that.
func TestLatePut(t *testing.T) {
	l := acquire(t, openAt(t, t.TempDir()), "job", lock.Candidate{ID: "a"}, prompt)
	ctx, giveUp := context.WithCancel(t.Context())
	old := l.set(ctx, "put key", "key", []byte("old"))
	tries := 0
	err := l.session.dir.update(true, func(s *state) error {
		if tries++; tries > 1 {
			return old(s)
		}
		defer giveUp()
		return errors.Join(old(s), l.Put(t.Context(), "key", []byte("new")))
	})
	if tries != 2 || !errors.Is(err, lock.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("after %d tries: %v", tries, err)
	}
	if got := string(l.session.dir.mustRead(t).Values["key"]); got != "new" {
		t.Errorf("value %q, want %q", got, "new")
	}
}

// A version that was torn by a power failure counts for nothing, and the next
// one takes its place.
func TestTornVersion(t *testing.T) {
	d := newDir(t)
	if err := d.update(false, add("a")); err != nil {
		t.Fatal(err)
	}
	whole := d.mustRead(t)
	for i, torn := range []string{"", string(whole.encode())[:20], strings.Repeat("\x00", 100)} {
		version := d.mustRead(t).newest + 1
		if err := os.WriteFile(d.file(version), []byte(torn), 0o644); err != nil {
			t.Fatal(err)
		}
		s := d.mustRead(t)
		if got := string(s.Values["a"]); got != strconv.Itoa(i+1) || s.newest != version {
			t.Errorf("torn %q: value %s, newest %d; want %d and %d", torn, got, s.newest, i+1, version)
		}
		if err := d.update(false, add("a")); err != nil {
			t.Fatal(err)
		}
		if got := string(d.mustRead(t).Values["a"]); got != strconv.Itoa(i+2) {
			t.Errorf("after torn %q: value %s, want %d", torn, got, i+2)
		}
	}
}

// What is durable is kept until something durable takes its place: all that is
// younger may turn out torn.
func TestTornLater(t *testing.T) {
	d := newDir(t)
	if err := d.update(true, add("a")); err != nil {
		t.Fatal(err)
	}
	durable := d.mustRead(t).newest
	for range 3 {
		if err := d.update(false, add("a")); err != nil {
			t.Fatal(err)
		}
	}
	versions, err := d.versions()
	if err != nil || len(versions) != 4 {
		t.Fatalf("versions %v, %v; want 4", versions, err)
	}
	for _, v := range versions {
		if v == durable {
			continue
		}
		if err := os.Truncate(d.file(v), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(d.mustRead(t).Values["a"]); got != "1" {
		t.Errorf("value %s, want the durable one, 1", got)
	}
	if err := d.update(true, add("a")); err != nil {
		t.Fatal(err)
	}
	if versions, err := d.versions(); err != nil || len(versions) != 1 {
		t.Errorf("versions %v, %v; want one", versions, err)
	}
}

// What cannot be read at all is for people to look at.
func TestNoStateReadable(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	d := dir(filepath.Join(path, "job.d"))
	if err := d.make(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.file(3), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := s.Locker("job").Acquire(t.Context(), lock.Candidate{TTL: time.Second})
	if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), d.file(3)) || !strings.Contains(err.Error(), "delete") {
		t.Errorf("acquire: %v; want the file and the cure", err)
	}
	if ok, err := mustOpenLock(t, path+"/job.lock").try(); !ok || err != nil {
		t.Errorf("the lock was not given back: %v, %v", ok, err)
	}
}

func mustOpenLock(t *testing.T, path string) *lockFile {
	t.Helper()
	f, err := openLock(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.giveBack)
	return f
}

// Files of killed writers are removed in time, those of living ones are not.
func TestTidy(t *testing.T) {
	d := newDir(t)
	old, err := d.writeTemp(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	fresh, err := d.writeTemp(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	d.tidy()
	if _, err := os.Stat(old); err == nil {
		t.Error("an old file is still there")
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Error(err)
	}
}

// A lease is over when the state disappears: others would begin at token 1.
func TestStateDeleted(t *testing.T) {
	for _, what := range []string{"job.d", "."} {
		path := filepath.Join(t.TempDir(), "store")
		l := acquire(t, openAt(t, path), "job", lock.Candidate{ID: "a"}, prompt)
		if err := os.RemoveAll(filepath.Join(path, what)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-l.Lost():
		case <-time.After(prompt):
			t.Fatalf("%s deleted: nothing noticed", what)
		}
		if !errors.Is(l.Err(), lock.ErrLost) {
			t.Errorf("%s deleted: %v", what, l.Err())
		}
		if err := l.Release(t.Context()); err != nil {
			t.Errorf("%s deleted: release: %v", what, err)
		}
		acquire(t, openAt(t, path), "job", lock.Candidate{ID: "b"}, prompt)
	}
}
