//go:build unix

package file

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// A place shows others that a candidate stands by; it decides nothing, and who cannot
// make one waits all the same. It is a file in DIR/NAME.d/queue with the candidate's
// flock on it, which no other process inherits: one that is not locked is of a candidate
// that was killed.
type place struct {
	dir    dir
	owner  string
	holder lock.Holder
	file   *lockFile
}

// leaveTime bounds how long who leaves waits for its place to be removed: on a file
// system that hangs that happens later.
const leaveTime = 100 * time.Millisecond

// queue is where the places are.
func (d dir) queue() dir { return dir(filepath.Join(string(d), "queue")) }

// showPlace keeps a place until ctx is done: one that was deleted, or that a full disk
// had no room for, is made later. It closes left when the place is removed.
func (q *campaign) showPlace(ctx context.Context, every time.Duration) (left <-chan struct{}) {
	p := &place{dir: q.dir.queue(), owner: q.owner, holder: lock.Holder{ID: q.ID, Host: q.Host, PID: q.PID, Since: time.Now()}}
	removed := make(chan struct{})
	go func() {
		defer close(removed)
		defer p.remove()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for ctx.Err() == nil {
			p.make()
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return removed
}

// make makes the place unless it is there. It is locked before it has its name, so
// that nobody takes it for a dead one.
func (p *place) make() {
	if p.file != nil && p.file.inPlace() == nil {
		return
	}
	p.remove()
	_ = os.Mkdir(string(p.dir), 0o755) // not what is above: somebody may just delete that
	p.dir.removeDead()
	data, err := json.Marshal(p.holder)
	if err != nil {
		panic(err) // strings and numbers
	}
	tmp, err := p.dir.writeTemp(data, false)
	if err != nil {
		return
	}
	defer func() { _ = os.Remove(tmp) }() // if it has that name still
	f, err := os.Open(tmp)
	if err != nil {
		return
	}
	p.file = &lockFile{File: f, path: filepath.Join(string(p.dir), p.owner)}
	info, err := f.Stat()
	if err == nil {
		p.file.id = idOf(info)
		_, err = p.file.try()
	}
	if err == nil {
		_ = os.Rename(tmp, p.file.path)
	}
}

func (p *place) remove() {
	if p.file != nil {
		_ = os.Remove(p.file.path)
		_ = p.file.Close()
		p.file = nil
	}
}

// places returns the paths of all, also of those whose candidate is dead.
func (d dir) places() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, unavailable("read queue", err)
	}
	var all []string
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), tempPrefix) {
			all = append(all, filepath.Join(string(d), e.Name()))
		}
	}
	return all, nil
}

// taken reports whether the candidate of a place lives. It disturbs none: nobody locks
// a place but its candidate, which has done so by now.
func taken(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is((&lockFile{File: f}).flock(unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

func (d dir) removeDead() {
	d.tidy()
	all, _ := d.places()
	for _, path := range all {
		if !taken(path) {
			_ = os.Remove(path)
		}
	}
}
