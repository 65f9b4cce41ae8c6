//go:build linux

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Requests of the kernel's FUSE protocol (include/uapi/linux/fuse.h).
const (
	fuseLookup      = 1
	fuseForget      = 2
	fuseGetattr     = 3
	fuseStatfs      = 17
	fuseInit        = 26
	fuseInterrupt   = 36
	fuseBatchForget = 42

	fuseRootID = 1
)

// mountFUSE mounts an empty file system that this process serves. It takes root
// and /dev/fuse; where LEADERRUN_TEST_REQUIRE names "fuse", it fails without.
func mountFUSE(t *testing.T, dir string) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Mount("leaderrun-test", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd))
	}
	if err != nil {
		without(t, "fuse", err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		serveFUSE(fd)
	}()
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		<-served
		_ = unix.Close(fd)
	})
}

// serveFUSE answers until the file system is unmounted.
func serveFUSE(fd int) {
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT): // ENOENT: the request was taken back
			continue
		case err != nil:
			return // ENODEV: unmounted
		}
		answerFUSE(fd, buf[:n])
	}
}

// answerFUSE knows a root directory with nothing in it, and nothing else.
func answerFUSE(fd int, request []byte) {
	le := binary.LittleEndian
	var errno unix.Errno
	var body []byte
	switch le.Uint32(request[4:]) {
	case fuseForget, fuseBatchForget, fuseInterrupt:
		return // want no answer
	case fuseInit:
		body = make([]byte, 64)
		le.PutUint32(body, 7)         // major
		le.PutUint32(body[4:], 31)    // minor
		le.PutUint32(body[20:], 4096) // max_write
	case fuseGetattr:
		body = make([]byte, 16+88)
		le.PutUint64(body[16:], fuseRootID)
		le.PutUint32(body[16+60:], unix.S_IFDIR|0o777)
		le.PutUint32(body[16+64:], 2) // links
	case fuseStatfs:
		body = make([]byte, 80)
	case fuseLookup:
		errno = unix.ENOENT
	default:
		errno = unix.ENOSYS
	}
	answer := make([]byte, 16, 16+len(body))
	le.PutUint32(answer, uint32(16+len(body)))
	le.PutUint32(answer[4:], uint32(-int32(errno)))
	copy(answer[8:], request[8:16]) // the request's number
	_, _ = unix.Write(fd, append(answer, body...))
}
