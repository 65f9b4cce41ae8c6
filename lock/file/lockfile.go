//go:build unix

package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// A fileID tells one file from another that bears the same name later. The
// number of a deleted file is not used again while a process has it open.
type fileID struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

func idOf(info fs.FileInfo) fileID {
	st := info.Sys().(*syscall.Stat_t)
	return fileID{uint64(st.Dev), st.Ino} //nolint:unconvert // not a uint64 everywhere
}

// A lockFile is one campaign's own open file: flock(2) belongs to it, and to
// whoever inherited it.
type lockFile struct {
	*os.File
	path string
	id   fileID
}

// openLock opens the lock file, or makes it.
func openLock(path string) (*lockFile, error) {
	for range 100 {
		// Not O_CREATE alone: fs.protected_regular refuses that for another
		// user's file in a directory like /tmp, even to root.
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
		if errors.Is(err, fs.ErrNotExist) {
			// For us alone: to lock it, or to be in the heart's way, it is enough to read it.
			f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				continue // another was faster
			}
		}
		if err != nil {
			return nil, unavailable("open lock file", err)
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%w: %s is not a regular file: remove it", lock.ErrConfig, path)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		lf := &lockFile{File: f, path: path, id: idOf(info)}
		if lf.inPlace() == nil {
			return lf, nil
		}
		_ = f.Close() // deleted between
	}
	return nil, unavailable("open lock file", fmt.Errorf("%s is deleted again and again", path))
}

// inPlace returns an error that wraps lock.ErrLost if the path does not name
// this file any more: others would lock another one.
func (f *lockFile) inPlace() error {
	info, err := os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s was deleted", lock.ErrLost, f.path)
	case err != nil:
		return unavailable("look at lock file", err)
	case idOf(info) != f.id:
		return fmt.Errorf("%w: %s was replaced", lock.ErrLost, f.path)
	}
	return nil
}

// flock keeps the file open until it returns, also if it is closed meanwhile.
func (f *lockFile) flock(how int) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno error
	err = conn.Control(func(fd uintptr) {
		for errno = unix.EINTR; errors.Is(errno, unix.EINTR); {
			errno = unix.Flock(int(fd), how)
		}
	})
	return errors.Join(err, errno)
}

// try locks if nobody holds the lock.
func (f *lockFile) try() (bool, error) {
	err := f.flock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	} else if err != nil {
		return false, unavailable("lock "+f.path, err)
	}
	return true, nil
}

// unlock frees the lock for whoever shares the open file, too: closing would
// not, as long as another process has it open.
func (f *lockFile) unlock() error { return errors.Join(f.stopHeartbeat(), f.flock(unix.LOCK_UN)) }

func (f *lockFile) giveBack() { _, _ = f.unlock(), f.Close() }

// A turn is a place in the kernel's queue for the lock.
//
// It cannot be left before it comes: a thread in flock(2) goes on only when a
// signal interrupts it, and Go restarts what its signals interrupt
// (SA_RESTART); closing the descriptor does not wake it. So who leaves, leaves
// the goroutine behind: it gives the lock back should it ever get it, and
// holds up nobody until then. A process that is stopped or killed has no place
// in the queue: the kernel gives the lock to a thread that runs.
type turn struct {
	file    *lockFile
	granted chan error

	mu   sync.Mutex
	come bool
	left bool
}

// queue enters the kernel's queue.
func (f *lockFile) queue() *turn {
	t := &turn{file: f, granted: make(chan error, 1)}
	go func() {
		err := f.flock(unix.LOCK_EX)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.come = true
		if t.left {
			f.giveBack()
			return
		}
		t.granted <- err
	}()
	return t
}

// leave gives the place up, and the lock if the turn has come. The file is
// closed then, or once the turn comes.
func (t *turn) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = true
	if t.come {
		t.file.giveBack()
	}
}
