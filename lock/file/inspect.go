//go:build unix

package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// Inspect implements lock.Inspector. The key is an election of its own, with a
// whole tenure: what is to be found out is whether the file system takes part.
func (l *locker) Inspect(ctx context.Context, c lock.Candidate, tell lock.Tell) lock.Outlook {
	defer l.store.unmake()
	if l.bad != nil {
		tell.Fail("election", l.bad)
		return lock.Outlook{}
	}
	tell.OK("login", "user %s", userName(os.Geteuid()))
	tell.OK("directory", "%s: %s", l.store.path, describe(l.store.path))
	if l.store.warn != nil {
		tell.Warn("directory", "%v", l.store.warn)
	}
	if err := l.inspectOwn(ctx, tell); err != nil {
		tell.Fail("election", err)
		return lock.Outlook{}
	}
	if !l.inspectTenure(ctx, c, tell) {
		return lock.Outlook{}
	}
	g := lock.Grant{Lifetime: c.TTL}
	tell.Granted(g, c.TTL)
	// A standby sees a beat and takes the lock when it looks: see pulse.
	return lock.Outlook{Grant: g, Hold: c.TTL + slack + 2*lookEvery, ThisHost: true}
}

// inspectOwn looks at what the election has left so far, and whether we could
// go on with it.
func (l *locker) inspectOwn(ctx context.Context, tell lock.Tell) error {
	for _, path := range []string{l.path, string(l.dir)} {
		mode := uint32(unix.R_OK | unix.W_OK)
		if path == string(l.dir) {
			mode |= unix.X_OK
		}
		err := unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return denied("use "+path, path, err)
		}
	}
	h, err := l.Holder(ctx)
	if err == nil {
		tell.Led(h)
	}
	return err
}

// inspectTenure makes a tenure in an election of its own and removes every trace
// of that.
func (l *locker) inspectTenure(ctx context.Context, c lock.Candidate, tell lock.Tell) bool {
	timing, err := lock.NewTiming(c.TTL, c.Grace)
	if err != nil {
		tell.Fail("lease", err)
		return false
	}
	own := l.store.locker(l.name + ".check-" + randomName())
	defer func() {
		if err := errors.Join(ignoreMissing(os.Remove(own.path)), os.RemoveAll(string(own.dir))); err != nil {
			tell.Warn("clean up", "remove them by hand: %v", err)
		}
	}()
	held, err := own.Acquire(ctx, lock.Candidate{ID: c.ID, Host: c.Host, TTL: c.TTL, Grace: c.Grace, GraceYields: c.GraceYields, Try: true})
	if ctx.Err() != nil {
		if err == nil {
			_ = held.Release(context.WithoutCancel(ctx))
		}
		return false
	}
	if err != nil {
		tell.Fail("create", denied("create files", l.store.path, err))
		return false
	}
	tell.OK("create", "allowed")
	steps := []struct {
		topic string
		try   func() error
	}{
		{"read", func() error { _, err := own.dir.read(); return err }},
		{"renew", func() error { return tell.Renewed(ctx, held.(*lease).session, timing.Request) }},
		{"delete", func() error {
			if err := held.Release(context.WithoutCancel(ctx)); err != nil {
				return err
			}
			return errors.Join(os.Remove(own.path), os.RemoveAll(string(own.dir)))
		}},
	}
	all := true
	for _, step := range steps {
		switch err := step.try(); {
		case ctx.Err() != nil && step.topic != "delete":
		case err != nil:
			all = false
			tell.Fail(step.topic, denied(step.topic, l.store.path, err))
		case step.topic != "renew": // has said so
			tell.OK(step.topic, "allowed")
		}
	}
	return all && ctx.Err() == nil
}

// denied makes a missing permission an error of the kind that it is for people:
// a campaign waits for it to come.
func denied(what, path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: %s: %w: %s is %s, and all candidates of an election run as one user", lock.ErrDenied, what, syscall.EACCES, path, describe(path))
}

// describe is what ls -ld says of permissions.
func describe(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	owner := "?"
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = userName(int(st.Uid))
	}
	return fmt.Sprintf("%v, owner %s", info.Mode(), owner)
}

func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return fmt.Sprintf("%s (uid %s)", u.Username, id)
	}
	return "uid " + id
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// unmake removes the directories that Open made, as far as they are empty.
func (s *store) unmake() {
	for p := s.path; p != s.existing; p = filepath.Dir(p) {
		if os.Remove(p) != nil {
			return
		}
	}
}
