//go:build unix

package file

import (
	"path/filepath"
	"testing"
	"time"
)

// Whoever leaves the queue keeps nothing, whether its turn has come or comes
// later.
func TestLeaveQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "job.lock")
	granted := func(turn *turn) bool {
		select {
		case err := <-turn.granted:
			if err != nil {
				t.Error(err)
			}
			return true
		case <-time.After(prompt):
			return false
		}
	}

	early := mustOpenLock(t, path).queue()
	if !granted(early) {
		t.Fatal("a free lock is not granted")
	}
	waiting := mustOpenLock(t, path).queue()
	next := mustOpenLock(t, path).queue()
	waiting.leave() // its turn has not come
	early.leave()   // it holds the lock
	if !granted(next) {
		t.Fatal("the lock is held by nobody that wants it")
	}
	next.leave()
	last := mustOpenLock(t, path)
	if turn := last.queue(); !granted(turn) {
		t.Error("the lock is held by nobody that wants it")
	}
}

// Another user, who cannot lead, cannot keep everybody from leading either: flock(2)
// and fcntl(2) ask for no more than a file that is open.
func TestLockFileIsOurs(t *testing.T) {
	info, err := mustOpenLock(t, filepath.Join(t.TempDir(), "job.lock")).Stat()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
