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
