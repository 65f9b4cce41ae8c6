//go:build unix

package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// statfs is replaced in tests: there is no network file system to mount.
var statfs = unix.Statfs

// Resolve fills in the directory of the short form, and makes the path the
// canonical one: without symbolic links.
func Resolve(s lock.Settings) (lock.Settings, error) {
	if len(s.URL.Hosts) > 0 {
		return s, fmt.Errorf("%w: --store %s: a file store is a directory of this host and has no host: a path has three slashes, as in file:///var/lib/leaderrun", lock.ErrConfig, s.URL)
	}
	for param := range s.URL.Params {
		return s, fmt.Errorf("%w: --store: a file store has no parameter %q: leave it out", lock.ErrConfig, param)
	}
	var err error
	if s.URL.Path == "" {
		if s.URL.Path, err = defaultDir(); err != nil {
			return s, fmt.Errorf("%w: --store file: %w: name a directory, as in file:///DIR", lock.ErrConfig, err)
		}
	}
	if !filepath.IsAbs(s.URL.Path) {
		return s, fmt.Errorf("%w: --store %s: the path is relative: begin it with /", lock.ErrConfig, s.URL)
	}
	path, err := canonical(s.URL.Path)
	if err != nil {
		return s, badDir(s.URL.Path, err)
	}
	s.URL.Path = path
	return s, nil
}

// defaultDir must outlive a reboot, as the tokens in it must rise.
func defaultDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/leaderrun", nil
	}
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) { // a relative one counts for nothing, says its specification
		return filepath.Join(state, "leaderrun"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "state", "leaderrun"), nil
}

// canonical resolves the part of path that exists.
func canonical(path string) (string, error) {
	missing := ""
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		existing, err := filepath.EvalSymlinks(p)
		if err == nil {
			return filepath.Join(existing, missing), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if _, err := os.Lstat(p); err == nil {
			return "", fmt.Errorf("%s is a symbolic link to nowhere", p)
		}
		missing = filepath.Join(filepath.Base(p), missing)
	}
}

// prepareDir makes the directory and checks that it can serve. The warning is
// something that people should know about a directory that can.
func prepareDir(path string) (warning, err error) {
	if err := checkFS(existingPart(path)); err != nil { // nothing is made where it is no use
		return nil, err
	}
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return nil, badDir(path, err)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return nil, badDir(path, fmt.Errorf("write in directory: %w", err))
	}
	if err := checkFS(path); err != nil { // an automounter may have come between
		return nil, err
	}
	if inMemory(path) {
		warning = fmt.Errorf("--store file://%s is a file system in memory: fencing tokens begin anew with every boot; choose a directory on a disk if anything checks them", path)
	}
	return warning, nil
}

func existingPart(path string) string {
	for p := path; ; p = filepath.Dir(p) {
		if _, err := os.Lstat(p); err == nil || p == filepath.Dir(p) {
			return p
		}
	}
}

// checkFS refuses file systems that keep no promise about flock(2).
func checkFS(path string) error {
	var st unix.Statfs_t
	if err := statfs(path, &st); err != nil {
		return badDir(path, fmt.Errorf("find file system: %w", err))
	}
	if name := networkFS(&st); name != "" {
		return fmt.Errorf("%w: --store file://%s: flock(2) means nothing on its file system, %s: name a directory on a local disk, or use etcd: or another store of the network", lock.ErrConfig, path, name)
	}
	return nil
}

func badDir(path string, err error) error {
	return fmt.Errorf("%w: --store file://%s: %w: name a directory that this user may write in, as in file:///DIR", lock.ErrConfig, path, err)
}
