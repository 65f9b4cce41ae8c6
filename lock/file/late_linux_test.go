package file

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// A Put that hung in the file system when its caller gave it up writes nothing over
// what a later one wrote.
func TestHungPut(t *testing.T) {
	path := t.TempDir()
	l := acquire(t, openAt(t, path), "job", lock.Candidate{ID: "a", TTL: time.Hour}, prompt)
	if err := l.Put(t.Context(), "key", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := l.session.check(); err != nil { // the next one to read a file is Put
		t.Fatal(err)
	}
	opening, letGo := holdFirstOpen(t, filepath.Join(path, "job.d"))
	ctx, giveUp := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Put(ctx, "key", []byte("old")) }()
	select {
	case <-opening:
	case <-time.After(prompt):
		t.Fatal("nothing hangs")
	}
	giveUp()
	if err := <-done; !errors.Is(err, lock.ErrUnavailable) {
		t.Errorf("given up: %v", err)
	}
	if err := l.Put(t.Context(), "key", []byte("new")); err != nil {
		t.Fatal(err)
	}
	letGo()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(300 * time.Millisecond); end != nil; {
		if got := string(l.session.dir.mustRead(t).Values["key"]); got != "new" {
			t.Fatalf("value %q after the late Put, want %q", got, "new")
		}
		select {
		case <-tick.C:
		case <-end:
			end = nil
		}
	}
}

// holdFirstOpen makes the next open(2) of a file in the directory hang until letGo.
func holdFirstOpen(t *testing.T, path string) (opening <-chan struct{}, letGo func()) {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_LARGEFILE)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		t.Skipf("fanotify(7) for permissions: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	events := os.NewFile(uintptr(fd), "fanotify")
	t.Cleanup(func() { _ = events.Close() }) // lets go of whatever hangs
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM|unix.FAN_EVENT_ON_CHILD, unix.AT_FDCWD, path); err != nil {
		t.Fatal(err)
	}
	allow := func(file int32) {
		answer := binary.NativeEndian.AppendUint32(nil, uint32(file))
		answer = binary.NativeEndian.AppendUint32(answer, unix.FAN_ALLOW)
		_, _ = events.Write(answer)
		_ = unix.Close(int(file))
	}
	held := make(chan int32, 1)
	hangs := make(chan struct{})
	go func() {
		first := true
		for buf := make([]byte, unix.FAN_EVENT_METADATA_LEN); ; { // room for one event
			if _, err := events.Read(buf); err != nil {
				return
			}
			file := int32(binary.NativeEndian.Uint32(buf[16:])) // struct fanotify_event_metadata
			if first {
				first = false
				held <- file
				close(hangs)
			} else {
				allow(file)
			}
		}
	}()
	return hangs, func() { allow(<-held) }
}
