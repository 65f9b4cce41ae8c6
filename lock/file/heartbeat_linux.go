package file

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A heartbeat shows the others that a holder lives, without a write to the disk: a
// full or frozen file system stops no job. It is a second lock, on a range of
// bytes of the lock file, of the kind that also belongs to the open file
// (F_OFD_SETLK, see fcntl(2)) and knows nothing of flock(2). The range begins
// somewhere else with every beat, and is as long as the TTL has milliseconds.
// Anyone may look at it (F_OFD_GETLK) without taking part in the locking.
type heartbeat struct {
	file *lockFile
	mu   sync.Mutex
	at   int64
	len  int64
}

// A beat is what a heartbeat showed at a glance.
type beat struct {
	at  int64
	ttl time.Duration
}

// startHeartbeat begins that of a lock that was just got.
func startHeartbeat(f *lockFile, ttl time.Duration) (*heartbeat, error) {
	// At random, so that a predecessor's that should have ended is not in the way.
	l := &heartbeat{file: f, at: leastBeat + rand.Int64N(1<<60), len: max(1, ttl.Milliseconds())}
	return l, f.rangeLock(unix.F_WRLCK, l.at, l.len)
}

// beat moves the heartbeat by one.
func (l *heartbeat) beat() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.file.rangeLock(unix.F_WRLCK, l.at+1, l.len); err != nil {
		return err
	}
	l.at++
	return l.file.rangeLock(unix.F_UNLCK, l.at-1, 1)
}

// stopHeartbeat ends any of this open file.
func (f *lockFile) stopHeartbeat() error { return f.rangeLock(unix.F_UNLCK, 0, 0) }

func (f *lockFile) rangeLock(kind int16, start, length int64) error {
	return rangeLock(f.File, unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: start, Len: length})
}

// leastBeat is above where other programs lock bytes.
const leastBeat = 1 << 32

// readHeartbeat looks for another open file's heart. Another program's lock on the
// file, such as one for reading all of it, is none: its holder would soon be taken
// for a frozen one.
func readHeartbeat(f *os.File) (b beat, beating bool, err error) {
	at := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: leastBeat}
	if err := rangeLock(f, unix.F_OFD_GETLK, &at); err != nil {
		return beat{}, false, unavailable("look at lock file", err)
	}
	return beat{at.Start, time.Duration(at.Len) * time.Millisecond}, at.Type == unix.F_WRLCK && at.Start >= leastBeat && at.Len > 0, nil
}

// listedHeartbeat looks for a heart of the file in /proc/locks, for which it takes no
// right to read the file. The device that is listed is not always that of stat(2)
// (btrfs); no other lock begins so far up.
func listedHeartbeat(path string) (beating bool, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return false, unavailable("look at lock file", err)
	}
	list, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false, unavailable("look at lock file", err)
	}
	inode := ":" + strconv.FormatUint(idOf(info).Ino, 10)
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line) // 2: OFDLCK ADVISORY WRITE -1 fe:00:762137 4294967296 4294967300
		if len(f) == 8 && f[1] == "OFDLCK" && f[3] == "WRITE" && strings.HasSuffix(f[5], inode) {
			if start, err := strconv.ParseInt(f[6], 10, 64); err == nil && start >= leastBeat {
				return true, nil
			}
		}
	}
	return false, nil
}

func rangeLock(f *os.File, cmd int, lock *unix.Flock_t) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno error
	err = conn.Control(func(fd uintptr) { errno = unix.FcntlFlock(fd, cmd, lock) })
	return errors.Join(err, errno)
}
