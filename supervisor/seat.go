//go:build unix

package supervisor

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// takeSeat takes what only one process of a user on this host can have: a flock(2) on
// a file in a directory where nobody else can take it, /run/leaderrun for root and
// leaderrun in the user's cache for others. It is always given where that cannot be
// made. Leave is never nil.
func takeSeat(name string) (leave func(), ok bool) {
	f, err := openSeat(name)
	if err != nil {
		return func() {}, true
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || err == nil && !inPlace(f) {
		_ = f.Close()
		return func() {}, false
	}
	return func() {
		_ = os.Remove(f.Name()) // while it is locked: who has opened it meanwhile sees that
		_ = f.Close()
	}, true
}

func inPlace(f *os.File) bool {
	opened, err := f.Stat()
	there, terr := os.Stat(f.Name())
	return err == nil && terr == nil && os.SameFile(opened, there)
}

func openSeat(name string) (*os.File, error) {
	dir, err := "/run", error(nil)
	if os.Geteuid() != 0 {
		dir, err = os.UserCacheDir() // a runtime directory is not there for a cron
	}
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "leaderrun")
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// The directory may be shared with another host: a container, a home on a network.
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	network, _ := os.Readlink("/proc/self/ns/net")
	file := fmt.Sprintf("seat-%x", sha256.Sum256([]byte(name+"\n"+string(boot)+network)))
	return os.OpenFile(filepath.Join(dir, file), os.O_RDWR|os.O_CREATE, 0o600)
}
