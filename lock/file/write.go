//go:build unix

package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// errSame is returned by a change that has nothing to do.
var errSame = errors.New("no change")

// update replaces the state by what change makes of it. change is called again
// when another writer was faster, and also when it is not certain whether its
// result was stored: it must see for itself that it was.
//
// What is durable is on the disk when update returns. What is not may be lost, or
// left torn, when the power fails: it says nothing that matters after a boot, and
// the durable version before it stays until the next.
func (d dir) update(durable bool, change func(*state) error) error {
	for range 100 {
		s, err := d.read()
		if err != nil {
			return err
		}
		next := s
		next.Values = maps.Clone(s.Values)
		if err := change(&next); errors.Is(err, errSame) {
			return nil
		} else if err != nil {
			return err
		}
		if stored, err := d.swap(s, next, durable); stored || err != nil {
			return err
		}
	}
	return unavailable("write state", fmt.Errorf("%s changes all the time", d))
}

// swap stores next in the place of s unless another writer has been faster.
func (d dir) swap(s, next state, durable bool) (stored bool, err error) {
	data := next.encode()
	if len(data) > maxSize {
		return false, fmt.Errorf("%w: --store file: a state has at most %d bytes", lock.ErrConfig, maxSize)
	}
	if s.newest == math.MaxInt64 {
		return false, fmt.Errorf("%w: --store file: no number comes after that of %s: remove it", lock.ErrConfig, d.file(s.newest))
	}
	tmp, err := d.writeTemp(data, durable)
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(tmp) }()
	version := s.newest + 1
	switch err := os.Link(tmp, d.file(version)); {
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist):
		return false, nil // another was faster, or tidied up
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return false, fmt.Errorf("%w: --store file: the file system of %s has no hard links (%w): name a directory on another", lock.ErrConfig, d, err)
	case err != nil:
		return false, unavailable("write state", err)
	}
	if durable {
		if err := d.sync(); err != nil {
			return false, err
		}
	}
	// The version may have been free because it was there and is deleted: then
	// newer ones are there, and ours counts for nothing. Or ours counted and
	// newer ones came after.
	versions, err := d.versions()
	if err != nil || len(versions) == 0 || versions[0] > version {
		return false, err
	}
	for _, v := range versions {
		if durable && v < version {
			_ = os.Remove(d.file(v))
		}
	}
	return true, nil
}

// maxSize bounds one file of the state, with all its values.
const maxSize = 8 << 20

// readFile reads a file of the state. Whatever else bears its name, such as a pipe,
// makes nobody wait.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxSize) {
		err = fmt.Errorf("%w: --store file: %s is no file of leaderrun's: remove it", lock.ErrConfig, path)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxSize))
}

const tempPrefix = "tmp-"

// writeTemp returns the name of a new file with the data, which is on the disk if
// durable.
func (d dir) writeTemp(data []byte, durable bool) (name string, err error) {
	name = filepath.Join(string(d), tempPrefix+randomName())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", unavailable("write state", err)
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(name)
		return "", unavailable("write state", err)
	}
	return name, nil
}

func (d dir) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return unavailable("write state", err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return unavailable("write state", err)
	}
	return nil
}

// make makes the directory.
func (d dir) make() error {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return unavailable("make directory for the state", err)
	}
	return nil
}

// tidy removes what writers left that were killed.
func (d dir) tidy() {
	entries, _ := os.ReadDir(string(d))
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), tempPrefix) && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(string(d), e.Name()))
		}
	}
}

// clean turns the owner's record to clean, unless that is so or another's is
// there.
func (d dir) clean(owner string, to *lock.Handover) error {
	return d.update(false, func(s *state) error {
		if s.Record.Owner != owner || s.Record.State != lock.Held {
			return errSame
		}
		s.Record.State, s.Record.Handover = lock.Clean, to
		return nil
	})
}
