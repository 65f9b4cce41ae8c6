package file

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Another program's lock on a few bytes of the lock file, which whoever may read the
// file can have, hides no heart and is none: who took it for one would find a frozen
// holder after two seconds, and take the lock from one that lives.
func TestForeignLockIsNoHeart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "job.lock")
	ours, others := mustOpenLock(t, path), mustOpenLock(t, path)
	foreign, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = foreign.Close() }()
	for _, r := range []unix.Flock_t{{Start: 0, Len: 10}, {Start: leastBeat, Len: 1}} {
		r.Type, r.Whence = unix.F_RDLCK, io.SeekStart
		if err := rangeLock(foreign, unix.F_OFD_SETLK, &r); err != nil { // before the heart, and so found first
			t.Fatal(err)
		}
		if got, beating, err := readHeartbeat(others.File); beating || err != nil {
			t.Errorf("%+v is taken for a heart: %+v, %v", r, got, err)
		}
		heart, err := startHeartbeat(ours, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got, beating, err := readHeartbeat(others.File)
		if want := (beat{heart.at, time.Minute}); err != nil || beating && got != want || r.Start == 0 && !beating {
			t.Errorf("beside %+v: %+v, %v, %v; want %+v", r, got, beating, err, want)
		}
		r.Type = unix.F_UNLCK
		if err := errors.Join(ours.stopHeartbeat(), rangeLock(foreign, unix.F_OFD_SETLK, &r)); err != nil {
			t.Fatal(err)
		}
	}
}
