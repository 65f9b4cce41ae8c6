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
	"strings"
	"sync"

	"leaderrun/lock"
)

var (
	_ lock.Store  = (*store)(nil)
	_ lock.Locker = (*locker)(nil)
)

type store struct {
	path     string
	existing string // the part of it that Open did not make
	observe  bool   // make nothing
	boot     string // id of this boot
	pidNS    string // the PID namespace of this process, or empty
	warn     error  // told to the first candidate
	warned   sync.Once

	expired sync.Map // election to the owner of a tenure whose lease was seen to end (see breakLock)
	seen    sync.Map // election to the last state that was seen (see recall)
	taken   sync.Map // election to when a tenure of ours ended that had lost its lock file (see yield)
}

// Open makes the directory if it is missing, unless it is only to be observed.
func Open(s lock.Settings) (lock.Store, error) {
	s, err := Resolve(s)
	if err != nil {
		return nil, err
	}
	st := &store{path: s.URL.Path, existing: existingPart(s.URL.Path), observe: s.Observe}
	if s.Observe {
		err = checkFS(st.existing)
	} else {
		st.warn, err = prepareDir(st.path)
	}
	if err != nil {
		return nil, err
	}
	if st.boot, err = bootID(); err != nil {
		return nil, fmt.Errorf("%w: --store file: tells dead holders by the id of this boot: %w", lock.ErrConfig, err)
	}
	st.pidNS, _ = os.Readlink("/proc/self/ns/pid")
	return st, nil
}

// Close has nothing to close: every campaign opens a file of its own.
func (s *store) Close() error { return nil }

// Locker implements lock.Store.
func (s *store) Locker(election string) lock.Locker { return s.locker(election) }

func (s *store) locker(election string) *locker {
	l := &locker{
		store: s,
		path:  filepath.Join(s.path, election+".lock"),
		dir:   dir(filepath.Join(s.path, election+".d")),
		name:  election,
	}
	if election == "" || strings.ContainsAny(election, "/\x00") {
		l.bad = fmt.Errorf("%w: --name %q: it names a file: leave out / and NUL", lock.ErrConfig, election)
	}
	return l
}

// A locker campaigns for one election.
type locker struct {
	store *store
	name  string
	path  string // of the lock file
	dir   dir
	bad   error // the name cannot be used
}

// ticket is what lock.Ticket.Data holds.
type ticket struct {
	Election string `json:"election"`
	Owner    string `json:"owner"`
}

func (l *locker) ticket(owner string, f *lockFile) lock.Ticket {
	data, err := json.Marshal(ticket{l.name, owner})
	if err != nil {
		panic(err) // two strings
	}
	return lock.Ticket{Data: data, File: f.File}
}

// Release implements lock.Store. The record goes to clean first: whoever gets
// the lock then finds that there is nothing to settle. To unlock what this
// open file does not hold, as that of a standby, is harmless.
func (s *store) Release(ctx context.Context, t lock.Ticket) error {
	var id ticket
	if err := json.Unmarshal(t.Data, &id); err != nil || id.Owner == "" {
		return fmt.Errorf("%w: read ticket: not one of a file store", lock.ErrConfig)
	}
	l := s.locker(id.Election)
	if l.bad != nil {
		return l.bad
	}
	_, err := within(ctx, "release", func() (struct{}, error) { return struct{}{}, l.dir.clean(id.Owner, nil) })
	if t.File != nil {
		err = errors.Join(err, ignoreClosed((&lockFile{File: t.File}).unlock()))
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil // and so unlocked
	}
	return err
}

// Holder implements lock.Locker. The record alone does not tell: a holder that
// was killed with its guard leaves it at held. An attempt to lock, even a
// shared one, would make another's attempt fail in that moment; so it looks
// for the holder's heartbeat instead.
func (l *locker) Holder(ctx context.Context) (lock.Holder, error) {
	return within(ctx, "find holder", func() (lock.Holder, error) {
		if l.bad != nil {
			return lock.Holder{}, l.bad
		}
		s, err := l.dir.read()
		if err != nil || s.Record.State != lock.Held || !l.sameBoot(s.Record) {
			return lock.Holder{}, err
		}
		if beating, err := l.beating(); err != nil || !beating {
			return lock.Holder{}, err
		}
		h := s.Record.Holder
		h.TTL = s.Record.TTL
		return h, nil
	})
}

// beating tells of the heart of whoever holds the lock. The lock file is closed to other
// users, who could lock it for as long as they like; the kernel's list of locks is not.
func (l *locker) beating() (bool, error) {
	f, err := os.Open(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, fs.ErrPermission):
		return listedHeartbeat(l.path)
	case err != nil:
		return false, unavailable("open lock file", err)
	}
	defer func() { _ = f.Close() }()
	_, beating, err := readHeartbeat(f)
	return beating, err
}

// Get implements lock.Records.
func (l *locker) Get(ctx context.Context, key string) ([]byte, error) {
	return within(ctx, "get "+key, func() ([]byte, error) {
		if l.bad != nil {
			return nil, l.bad
		}
		s, err := l.dir.read()
		return s.Values[key], err
	})
}

func (l *locker) sameBoot(r lock.Record) bool { return r.Host != nil && r.Host.BootID == l.store.boot }
