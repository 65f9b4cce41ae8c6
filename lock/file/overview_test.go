//go:build unix

package file

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/contract"
)

func observe(t *testing.T, path string) lock.Store {
	t.Helper()
	s, err := Open(lock.Settings{URL: lock.URL{Scheme: "file", Path: path}, Observe: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func elections(t *testing.T, s lock.Store, want ...string) {
	t.Helper()
	if all, err := s.Elections(t.Context()); err != nil || !slices.Equal(all, want) {
		t.Errorf("elections %q, %v; want %q", all, err, want)
	}
}

// queued waits until those stand by for "e".
func queued(t *testing.T, s lock.Store, want ...string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patient); ; {
		q, err := s.Locker("e").Queue(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, h := range q {
			ids = append(ids, h.ID)
		}
		if slices.Equal(ids, want) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("queue is %q, want %q", ids, want)
		}
	}
}

func standBy(t *testing.T, s lock.Store, id string) *contract.Campaign {
	t.Helper()
	b := contract.Start(t, s, lock.Candidate{ID: id, TTL: 2 * time.Second})
	b.Hears(lock.StandingBy, patient)
	return b
}

// Who looks makes nothing, and a directory that is not there is one where nobody leads.
func TestObserveNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	s := observe(t, path)
	elections(t, s)
	queued(t, s)
	l := s.Locker("e")
	h, err := l.Holder(t.Context())
	v, err2 := l.Get(t.Context(), "key")
	if err := errors.Join(err, err2); err != nil || h != (lock.Holder{}) || v != nil {
		t.Errorf("holder %+v, value %q, %v", h, v, err)
	}
	if err := l.Ask(t.Context(), lock.Request{Token: 1}); !errors.Is(err, lock.ErrUnavailable) {
		t.Errorf("ask nobody: %v", err)
	}
	if _, err := os.Lstat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("made the directory: %v", err)
	}
}

// Another user, who may only read, sees as much as a candidate, but asks for nothing.
func TestObserveAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("takes another user")
	}
	path := openTemp(t)
	s := openAt(t, path)
	l := acquire(t, s, "e", lock.Candidate{ID: "a"}, prompt)
	if err := l.Put(t.Context(), "key", []byte("v")); err != nil {
		t.Fatal(err)
	}
	standBy(t, s, "b")
	queued(t, s, "b")
	killed := startHelper(t, path, "killed", time.Hour)
	killed.token(patient)
	killed.kill()
	private := filepath.Join(openTemp(t), "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}

	asNobody(t)
	o := observe(t, path)
	elections(t, o, "e", "killed")
	queued(t, o, "b")
	h, err := o.Locker("e").Holder(t.Context())
	if err != nil || h.ID != "a" || h.TTL != 5*time.Second {
		t.Errorf("holder: %+v, %v", h, err)
	}
	if v, err := o.Locker("e").Get(t.Context(), "key"); err != nil || string(v) != "v" {
		t.Errorf("value: %q, %v", v, err)
	}
	if h, err := o.Locker("killed").Holder(t.Context()); err != nil || h != (lock.Holder{}) {
		t.Errorf("holder that was killed: %+v, %v", h, err)
	}
	err = o.Locker("e").Ask(t.Context(), lock.Request{Token: l.Token()})
	if !errors.Is(err, lock.ErrConfig) || errors.Is(err, lock.ErrUnavailable) || !strings.Contains(err.Error(), "as the user of the candidates") {
		t.Errorf("ask: %v", err)
	}
	if _, err := observe(t, private).Elections(t.Context()); !errors.Is(err, lock.ErrDenied) || !strings.Contains(err.Error(), "--name") {
		t.Errorf("elections of a directory that may not be read: %v", err)
	}
}

// What is no election of ours, or no place in a queue, is passed over.
func TestForeignFiles(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	acquire(t, s, "e", lock.Candidate{ID: "a"}, prompt)
	queue := string(s.(*store).locker("e").dir.queue())
	for _, dir := range []string{"empty.d", ".d", "other", queue} {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(path, dir)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(path, "file.d"), []byte("x"))
	write(t, filepath.Join(path, "lone.lock"), nil)
	if err := os.Mkdir(filepath.Join(queue, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(queue, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"garbage": "{", "nobody": "{}"} {
		write(t, filepath.Join(queue, name), []byte(text))
		f, err := openLock(filepath.Join(queue, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.giveBack)
		if ok, err := f.try(); !ok {
			t.Fatal(err)
		}
	}
	elections(t, s, "e")
	queued(t, s)
	standBy(t, s, "b")
	queued(t, s, "b")
}

// An election without a record is one all the same if somebody waits for it.
func TestQueueBehindStranger(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	f, err := openLock(filepath.Join(path, "e.lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.giveBack)
	if ok, err := f.try(); !ok {
		t.Fatal(err)
	}
	standBy(t, s, "b")
	queued(t, s, "b")
	elections(t, s, "e")
}

// A standby that is killed stands by no longer, even while its guard lives, and whoever
// comes next removes its place.
func TestKilledStandbyIsNotListed(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	acquire(t, s, "e", lock.Candidate{ID: "a"}, prompt)
	b := startHelper(t, path, "e", 2*time.Second, "LEADERRUN_TEST_GUARD=1")
	guardOf(t, b)
	waitPlaces(t, s, 1)
	b.kill()
	queued(t, s)
	waitPlaces(t, s, 1)
	standBy(t, s, "c")
	queued(t, s, "c")
	waitPlaces(t, s, 1)
}

// waitPlaces waits until there are n places, taken or not.
func waitPlaces(t *testing.T, s lock.Store, n int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patient); ; {
		all, err := s.(*store).locker("e").dir.queue().places()
		if err == nil && len(all) == n {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("places %q, %v; want %d", all, err, n)
		}
	}
}

// What a standby starts has no hold on its place.
func TestPlaceIsNotInherited(t *testing.T) {
	s := openAt(t, t.TempDir())
	acquire(t, s, "e", lock.Candidate{ID: "a"}, prompt)
	standBy(t, s, "b")
	queued(t, s, "b")
	out, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
	if err != nil {
		t.Skip(err)
	}
	if strings.Contains(string(out), "/queue/") {
		t.Errorf("inherited:\n%s", out)
	}
}

// A place that is gone comes again; who stands by is not held up by that, and leaves
// nothing behind.
func TestPlaceDeleted(t *testing.T) {
	s := openAt(t, t.TempDir())
	a := acquire(t, s, "e", lock.Candidate{ID: "a"}, prompt)
	b := standBy(t, s, "b")
	queued(t, s, "b")
	if err := os.RemoveAll(string(s.(*store).locker("e").dir.queue())); err != nil {
		t.Fatal(err)
	}
	queued(t, s, "b")
	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Wins(prompt)
	waitPlaces(t, s, 0)
}

// A standby says that all is well at the pace that it is told, and only if it is.
func TestSignsOfLife(t *testing.T) {
	path := t.TempDir()
	l := openAt(t, path).(*store).locker("e")
	if err := l.dir.make(); err != nil {
		t.Fatal(err)
	}
	f, err := openLock(l.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.giveBack)
	signs := 0
	q := &campaign{locker: l, file: f, Candidate: lock.Candidate{Notify: func(n lock.Notice) {
		if n.Kind == lock.Renewed {
			signs++
		}
	}}}
	w := &watcher{campaign: q, state: reader{dir: l.dir}, every: time.Hour}
	look := func(want int) {
		t.Helper()
		if err := w.look(t.Context()); err != nil || signs != want {
			t.Errorf("%d signs, %v; want %d", signs, err, want)
		}
	}
	look(1)
	look(1)
	w.signs = w.signs.Add(-time.Hour)
	look(2)
	write(t, l.dir.file(1), []byte("{}")) // no state of ours
	w.signs = w.signs.Add(-time.Hour)
	look(2)
}
