package file

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// File systems that are shared between kernels are refused by their number,
// those of one host are not, and nothing is made on them.
func TestNetworkFileSystems(t *testing.T) {
	original := statfs
	t.Cleanup(func() { statfs = original })
	for magic, name := range map[int64]string{
		unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "CIFS", unix.SMB2_SUPER_MAGIC: "SMB2",
		unix.FUSE_SUPER_MAGIC: "FUSE", unix.V9FS_MAGIC: "9p", unix.CEPH_SUPER_MAGIC: "Ceph", unix.AFS_SUPER_MAGIC: "AFS",
		unix.AFS_FS_MAGIC: "AFS", unix.CODA_SUPER_MAGIC: "Coda", unix.NCP_SUPER_MAGIC: "NCP", unix.OCFS2_SUPER_MAGIC: "OCFS2",
		unix.EXT4_SUPER_MAGIC: "", unix.XFS_SUPER_MAGIC: "", unix.BTRFS_SUPER_MAGIC: "", unix.TMPFS_MAGIC: "",
		unix.OVERLAYFS_SUPER_MAGIC: "", unix.F2FS_SUPER_MAGIC: "", 0x2fc12fc1: "", // ZFS
	} {
		statfs = func(path string, st *unix.Statfs_t) error {
			if _, err := os.Stat(path); err != nil {
				return err
			}
			*st = unix.Statfs_t{Type: magic}
			return nil
		}
		path := filepath.Join(t.TempDir(), "below", "here")
		_, err := Open(lock.Settings{URL: lock.URL{Scheme: "file", Path: path}})
		if name == "" {
			if err != nil {
				t.Errorf("%#x: %v", magic, err)
			}
			continue
		}
		if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), " "+name+":") || !strings.Contains(err.Error(), "--store file://") {
			t.Errorf("%#x: %v; want --store and %s", magic, err, name)
		}
		if _, err := os.Stat(filepath.Dir(path)); err == nil {
			t.Errorf("%#x: made a directory there", magic)
		}
	}
}

// The same on a real one.
func TestFUSE(t *testing.T) {
	program, err := exec.LookPath("fuse-overlayfs")
	if err != nil {
		t.Skip(err)
	}
	tmp := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "mnt"} {
		if err := os.Mkdir(filepath.Join(tmp, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount := exec.Command(program, "-o", "lowerdir=lower,upperdir=upper,workdir=work", "mnt")
	mount.Dir = tmp
	if out, err := mount.CombinedOutput(); err != nil {
		t.Skipf("mount: %v: %s", err, out)
	}
	mnt := filepath.Join(tmp, "mnt")
	t.Cleanup(func() { _ = unix.Unmount(mnt, unix.MNT_DETACH) })
	_, err = Open(lock.Settings{URL: lock.URL{Scheme: "file", Path: filepath.Join(mnt, "store")}})
	if !errors.Is(err, lock.ErrConfig) || !strings.Contains(err.Error(), "FUSE") {
		t.Errorf("open on FUSE: %v", err)
	}
}

// memory mounts a small file system, which can be filled and made read-only.
func memory(t *testing.T) (path string) {
	t.Helper()
	path = openTemp(t)
	if err := unix.Mount("leaderrun-test", path, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("mount: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

// A file system in memory is not refused, but told.
func TestInMemory(t *testing.T) {
	s := openAt(t, memory(t))
	warnings := 0
	for range 2 {
		l := acquire(t, s, "job", lock.Candidate{Notify: func(n lock.Notice) {
			if n.Kind == lock.Warning {
				warnings++
				if !strings.Contains(n.Err.Error(), "begin anew with every boot") {
					t.Errorf("warning: %v", n.Err)
				}
			}
		}}, prompt)
		if err := l.Release(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if warnings != 1 {
		t.Errorf("%d warnings", warnings)
	}
}

// A directory that is full, or may not be written in, is said to be that; a
// holder keeps its lock, and whoever cannot write gives it back.
func TestCannotWrite(t *testing.T) {
	for _, c := range []struct {
		name, text   string
		hinder, mend func(path string) error
	}{
		{
			"full", "make room", fill,
			func(path string) error { return os.Remove(filepath.Join(path, "fill")) },
		},
		{
			"not allowed", "run as one user",
			func(string) error { return syscall.Seteuid(65534) },
			func(string) error { return syscall.Seteuid(0) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := memory(t)
			s := openAt(t, path)
			l := acquire(t, s, "job", lock.Candidate{ID: "a"}, prompt)
			t.Cleanup(func() { _ = syscall.Seteuid(0) })
			must(t, c.hinder(path))
			says := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, lock.ErrUnavailable) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%s: %v; want ErrUnavailable and %q", what, err, c.text)
				}
			}
			says("put", l.Put(t.Context(), "key", []byte("x")))
			says("ask", s.Locker("job").Ask(t.Context(), lock.Request{Token: l.Token()}))
			says("record child", l.RecordChild(1, 1))
			if _, err := l.session.Renew(t.Context()); err != nil {
				t.Errorf("renew: %v", err)
			}
			says("release", l.Release(t.Context()))
			_, err := s.Locker("job").Acquire(t.Context(), lock.Candidate{ID: "b", TTL: 5e9})
			says("acquire", err)
			must(t, c.mend(path))
			must(t, l.Release(t.Context()))
			acquire(t, s, "job", lock.Candidate{ID: "c"}, prompt)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill leaves no room on a file system.
func fill(path string) error {
	f, err := os.Create(filepath.Join(path, "fill"))
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if errors.Is(err, unix.ENOSPC) {
		return f.Close()
	}
	return err
}

// Whoever asks who leads makes no attempt to lead fail.
func TestHolderDisturbsNobody(t *testing.T) {
	s := openAt(t, t.TempDir())
	must(t, acquire(t, s, "job", lock.Candidate{}, prompt).Release(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if _, err := s.Locker("job").Holder(context.Background()); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 100 {
		l, err := s.Locker("job").Acquire(t.Context(), lock.Candidate{TTL: 5e9, Try: true})
		must(t, err)
		must(t, l.Release(t.Context()))
	}
	cancel()
	<-done
}

// Nobody is kept from standing by, and from winning, by a disk that is full. The place
// is shown once there is room.
func TestNoRoomForAPlace(t *testing.T) {
	path := memory(t)
	s := openAt(t, path)
	a := acquire(t, s, "e", lock.Candidate{ID: "a"}, prompt)
	must(t, fill(path))
	b := standBy(t, s, "b")
	b.Hears(lock.Renewed, patient)
	b.Hears(lock.Renewed, patient)
	queued(t, s)
	must(t, os.Remove(filepath.Join(path, "fill")))
	queued(t, s, "b")
	must(t, a.Release(t.Context()))
	b.Wins(prompt)
}

// A volume that is mounted read-only, as into a container, is enough to look.
func TestObserveReadOnly(t *testing.T) {
	path := memory(t)
	s := openAt(t, path)
	l := acquire(t, s, "e", lock.Candidate{ID: "a"}, prompt)
	standBy(t, s, "b")
	queued(t, s, "b")
	view := openTemp(t)
	must(t, unix.Mount(path, view, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(view, unix.MNT_DETACH) })
	must(t, unix.Mount("", view, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	o := observe(t, view)
	elections(t, o, "e")
	queued(t, o, "b")
	if h, err := o.Locker("e").Holder(t.Context()); err != nil || h.Token != l.Token() {
		t.Errorf("holder: %+v, %v", h, err)
	}
	if err := o.Locker("e").Ask(t.Context(), lock.Request{Token: l.Token()}); !errors.Is(err, lock.ErrConfig) {
		t.Errorf("ask: %v", err)
	}
}

// A disk that takes no write at all holds up nobody who stands by, and nobody who leaves.
func TestPlaceOnFrozenDisk(t *testing.T) {
	path := disk(t)
	s := openAt(t, path)
	acquire(t, s, "e", lock.Candidate{ID: "a"}, prompt)
	thaw := freeze(t, path)
	b := standBy(t, s, "b")
	b.Hears(lock.Renewed, patient)
	b.Hears(lock.Renewed, patient)
	b.Cancel(context.Canceled)
	select {
	case <-b.Done:
	case <-time.After(prompt):
		t.Error("waits for the disk")
	}
	thaw()
	waitPlaces(t, s, 0)
	standBy(t, s, "c")
	queued(t, s, "c")
}

// disk mounts a small file system that can be frozen.
func disk(t *testing.T) (path string) {
	t.Helper()
	path = openTemp(t)
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 8<<20))
	for _, args := range [][]string{{"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, path}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

// freeze stops all writes to a file system until thaw, at the latest the end of the test.
func freeze(t *testing.T, path string) (thaw func()) {
	t.Helper()
	d, err := os.Open(path)
	must(t, err)
	const fiFreeze, fiThaw = 0xc0045877, 0xc0045878 // linux/fs.h
	must(t, unix.IoctlSetInt(int(d.Fd()), fiFreeze, 0))
	thaw = sync.OnceFunc(func() {
		must(t, unix.IoctlSetInt(int(d.Fd()), fiThaw, 0))
		must(t, d.Close())
	})
	t.Cleanup(thaw)
	return thaw
}
