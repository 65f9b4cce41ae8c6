//go:build unix

package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"leaderrun/lock"
)

// Elections implements lock.Store.
func (s *store) Elections(ctx context.Context) ([]string, error) {
	return within(ctx, "list elections", func() ([]string, error) {
		entries, err := os.ReadDir(s.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, unlisted(s.path, err)
		}
		var names []string
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), ".d")
			if !ok || name == "" || !e.IsDir() {
				continue
			}
			d := s.locker(name).dir
			versions, err := d.versions()
			places, err2 := d.queue().places()
			if err := errors.Join(err, err2); err != nil {
				return nil, unlisted(string(d), err)
			}
			if len(versions) > 0 || slices.ContainsFunc(places, taken) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names, nil
	})
}

// Queue implements lock.Locker. The kernel's own queue cannot be seen: the order is
// that of coming, by the wall clock.
func (l *locker) Queue(ctx context.Context) ([]lock.Holder, error) {
	return within(ctx, "read queue", func() ([]lock.Holder, error) {
		if l.bad != nil {
			return nil, l.bad
		}
		all, err := l.dir.queue().places()
		if err != nil {
			return nil, err
		}
		s, err := l.dir.read()
		if err != nil {
			return nil, err
		}
		var waiting []lock.Holder
		for _, path := range all {
			if filepath.Base(path) == s.Record.Owner {
				continue // has won, and is about to go
			}
			var h lock.Holder
			if b, err := readFile(path); err == nil && json.Unmarshal(b, &h) == nil && h.ID != "" && taken(path) {
				waiting = append(waiting, h)
			}
		}
		slices.SortStableFunc(waiting, func(a, b lock.Holder) int { return a.Since.Compare(b.Since) })
		return waiting, nil
	})
}

// unlisted makes a missing permission one that people can do something about.
func unlisted(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: list elections: %w: %s is %s: give --name, or run this as that user", lock.ErrDenied, syscall.EACCES, path, describe(path))
	}
	return unavailable("list elections", err)
}
