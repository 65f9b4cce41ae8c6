package guard

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"leaderrun/lock/bootclock"
)

// A storm is a tree that forks as fast as it can: what its processes share, in a
// file that they and the test have mapped.
type storm struct {
	forks atomic.Int64 // so far
	last  atomic.Int64 // when one of them last lived, on bootclock
}

// What bounds a storm that nobody ends.
const (
	stormLife  = 15 * time.Second
	stormForks = 1000 // of breeders, which live on
	hoppers    = 50
)

func mapStorm(path string) (*storm, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(4096); err != nil {
		return nil, err
	}
	page, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*storm)(unsafe.Pointer(&page[0])), nil
}

// stormMain makes a storm of a kind: "breed" forks two and lives, and so do they,
// up to a number; "hop" are many that each fork one and exit at once; "flee" hop
// too, each into a session of its own.
func stormMain(kind, path string) int {
	s, err := mapStorm(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	end := int64(bootclock.Now().Add(stormLife))
	for range hoppers {
		if kind == "breed" {
			break
		}
		if fork() == 0 {
			s.hop(kind == "flee", end)
		}
	}
	if kind == "breed" {
		s.breed(end)
	}
	for bootclock.Now() < bootclock.Instant(end) {
		<-time.After(time.Second)
	}
	return 0
}

// fork is without exec, for speed. Only the thread that forks goes on in the
// child: nothing there may need Go's scheduler.
func fork() int {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(pid)
}

func (s *storm) live() int64 {
	var ts unix.Timespec
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0)
	now := ts.Sec*1e9 + ts.Nsec
	s.last.Store(now)
	return now
}

func (s *storm) hop(flee bool, end int64) {
	for s.live() < end {
		if fork() > 0 {
			break
		}
		s.forks.Add(1)
		if flee {
			_, _, _ = syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
		}
	}
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
}

func (s *storm) breed(end int64) {
	for range 2 {
		if s.forks.Add(1) > stormForks {
			break
		}
		if fork() == 0 {
			s.breed(end)
		}
	}
	second := syscall.Timespec{Nsec: 1e6}
	for s.live() < end {
		_, _, _ = syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&second)), 0, 0)
	}
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
}

// withoutCgroup runs the rest of the test where there is no cgroup: in a mount
// namespace that has none mounted, by this program once more.
func withoutCgroup(t *testing.T, run func()) {
	t.Helper()
	c := makeCgroup()
	if c == nil {
		run()
		return
	}
	base := filepath.Dir(c.path)
	c.remove()
	again(t, "unshare", "-m", "sh", "-c", `umount -l "$1" && shift && exec "$@"`, "sh", base)
}

// weather asserts that nothing is left of a storm once Run has returned and, where
// the guard runs before the storm, that none of it lived when the lease was over.
func weather(t *testing.T, kind string) {
	t.Helper()
	const margin = 250 * time.Millisecond // the least between deadline and end of a lease
	path := filepath.Join(t.TempDir(), "storm")
	s, err := mapStorm(path)
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, []string{"/proc/" + strconv.Itoa(os.Getpid()) + "/exe", "storm", kind, path})
	tenure := lasting(1500 * time.Millisecond)
	done := background(t.Context(), g, tenure)
	waitFor(t, "the storm", func() bool { return s.forks.Load() > 0 })
	attr, err := unix.SchedGetAttr(g.pid, 0)
	first := err == nil && attr.Policy == unix.SCHED_RR
	res := <-done
	took, forks := bootclock.Now().Sub(tenure.until), s.forks.Load()
	lived := bootclock.Instant(s.last.Load()).Sub(tenure.until)
	t.Logf("%s, %d forks: the last sign of life came %v after the deadline, the end %v (%s)", kind, forks, lived, took, res.Cause)
	if forks < hoppers {
		t.Error("no storm")
	}
	if first && lived > margin {
		t.Errorf("%s: a sign of life %v after the deadline", kind, lived)
	}
	<-time.After(50 * time.Millisecond)
	if later := s.forks.Load(); later != forks {
		t.Errorf("%s: forked on after Run has returned", kind)
	}
}

func TestStorm(t *testing.T) { storms(t) }

func TestStormWithoutCgroup(t *testing.T) { withoutCgroup(t, func() { storms(t) }) }

func storms(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"breed", "hop", "flee"} {
		weather(t, kind)
	}
}
