package guard

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A cgroup is a control group (cgroups(7), version 2) of one tree and nobody
// else: the child is born in it, and whatever it forks, whatever session that
// makes for itself, is in it too. A write to its cgroup.kill (Linux 5.14) ends
// all of it, forks under way included, whichever user it runs as.
//
// Who uses one has it locked (flock(2), shared): what bears our mark and nobody has
// locked was left by processes that were all killed. The name alone says nothing:
// people call their own cgroups so.
//
// A nil cgroup is none: not every host lets us make one.
type cgroup struct {
	path   string
	dir    int      // descriptor
	file   *os.File // cgroup.kill, open so that nothing has to be looked up at the deadline
	ending atomic.Bool
	ends   sync.WaitGroup
	killed bool     // once
	births *os.File // where the next tree is born, see renew; nil is dir
}

// makeCgroup makes one below this process's own, which leaves to whoever
// limits or ends us (systemd, a container) all that they have. It returns nil
// where that is not to be had.
func makeCgroup() *cgroup {
	base, err := ownCgroup()
	if err != nil {
		return nil
	}
	endAbandoned(base)
	path, err := os.MkdirTemp(base, fmt.Sprintf("leaderrun-%d-", os.Getpid()))
	if err != nil {
		return nil
	}
	c := joinCgroup(path)
	if c == nil {
		_ = unix.Rmdir(path)
		return nil
	}
	// Only now that it is locked: nobody takes it for abandoned meanwhile. Without
	// the mark nobody ends what we might leave.
	_ = unix.Fsetxattr(c.dir, cgroupMark, []byte{'1'}, 0)
	return c
}

// cgroupMark is an extended attribute, which a cgroup has had since before it had
// a cgroup.kill.
const cgroupMark = "user.leaderrun"

// endAbandoned ends and removes what killed supervisors, guards and sentinels
// have left in base. What is not gone at once is left to the next.
func endAbandoned(base string) {
	left, _ := filepath.Glob(filepath.Join(base, "leaderrun-*"))
	for _, path := range left {
		if !isMarked(path) {
			continue
		}
		if c := openCgroup(path, unix.LOCK_EX); c != nil {
			c.kill()
			_ = removeCgroup(path)
			c.close()
		}
	}
}

func isMarked(path string) bool {
	n, err := unix.Getxattr(path, cgroupMark, nil)
	return err == nil && n > 0
}

// joinCgroup opens a cgroup that stays as long as this process needs it.
func joinCgroup(path string) *cgroup { return openCgroup(path, unix.LOCK_SH) }

// openCgroup returns nil if the kernel cannot end a cgroup at once, it may not
// be used, or not be locked so; an empty path is none.
func openCgroup(path string, lock int) *cgroup {
	if path == "" {
		return nil
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	kill := -1
	if err = unix.Flock(dir, lock|unix.LOCK_NB); err == nil {
		kill, err = unix.Openat(dir, "cgroup.kill", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		_ = unix.Close(dir)
		return nil
	}
	return &cgroup{path: path, dir: dir, file: os.NewFile(uintptr(kill), "cgroup.kill")}
}

// ownCgroup is the directory of this process's cgroup.
func ownCgroup() (string, error) {
	in, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	if path := findCgroup(string(in), string(mounts)); path != "" {
		return path, nil
	}
	return "", fs.ErrNotExist
}

// findCgroup finds the directory in the form of /proc/self/cgroup and
// /proc/self/mountinfo (proc(5)); "" is none. A mount shows what is below its
// root, which in a container often is not the hierarchy's.
func findCgroup(in, mounts string) string {
	own := ""
	for line := range strings.Lines(in) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			own = strings.TrimSuffix(path, "\n")
		}
	}
	if own == "" || strings.HasPrefix(own, "/..") { // outside this cgroup namespace
		return ""
	}
	for line := range strings.Lines(mounts) {
		what, kind, _ := strings.Cut(line, " - ")
		f := strings.Fields(what)
		if len(f) < 5 || !strings.HasPrefix(kind, "cgroup2 ") {
			continue
		}
		if f[3] == "/.." || strings.HasPrefix(f[3], "/../") {
			continue // from outside: it shows what our namespace's root is below, and not where
		}
		if rel, err := filepath.Rel(unescape(f[3]), own); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return filepath.Join(unescape(f[4]), rel)
		}
	}
	return ""
}

// unescape undoes what mountinfo does to spaces and the like.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// id names it for as long as this host runs: the number is no other's, the path may
// be, in another mount namespace.
func (c *cgroup) id() string {
	var st unix.Stat_t
	if c == nil || unix.Fstat(c.dir, &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d:%s", st.Ino, c.path)
}

// findLeft opens the one with that id, if it is there.
func findLeft(id string) *cgroup {
	_, path, _ := strings.Cut(id, ":")
	c := joinCgroup(path)
	if c != nil && (c.id() != id || !isMarked(path)) {
		c.close()
		return nil
	}
	return c
}

func (c *cgroup) name() string {
	if c == nil {
		return ""
	}
	return c.path
}

// enter makes a child be born in the cgroup, never outside (clone3(2),
// CLONE_INTO_CGROUP), or as usual.
func (c *cgroup) enter(attr *syscall.SysProcAttr) bool {
	attr.UseCgroupFD = c != nil
	if c != nil {
		attr.CgroupFD = c.dir
		if c.births != nil {
			attr.CgroupFD = int(c.births.Fd())
		}
	}
	return c != nil
}

// kill sends SIGKILL to all that is in it, and does not wait for a death. It may
// wait for whoever else on the host is about to change cgroups, which is as long
// as the kernel lets that starve.
func (c *cgroup) kill() { _, _ = c.file.WriteString("1") }

// end does so without making anyone wait.
func (c *cgroup) end() {
	if c == nil || !c.ending.CompareAndSwap(false, true) {
		return
	}
	c.killed = true
	c.ends.Go(func() {
		c.kill()
		c.ending.Store(false)
	})
}

// renew makes it fit for another tree, after end, or reports that it is not to be had.
//
// It waits until nothing sent by end can hit who enters next; that may take as long as
// kill does, as a fork into a cgroup may. And as whoever is born in a cgroup dies at birth if
// that was killed more often than the forker's own (Linux since 6.14, and 6.18 still:
// cgroup_css_set_fork notes the kill_seq of the latter, cgroup_post_fork compares it with
// that of the former), the tree gets a fresh one below, which is ended and removed with it.
func (c *cgroup) renew() bool {
	if c == nil {
		return false
	}
	c.ends.Wait()
	c.closeBirths()
	if !c.killed {
		return true
	}
	path, err := os.MkdirTemp(c.path, "next-")
	if err == nil {
		c.births, err = os.Open(path)
	}
	return err == nil
}

// bornDead reports whether a child that a fork has returned died before it executed
// anything, as when this process's own cgroup was killed once (see renew):
// PF_FORKNOEXEC in field 9 of /proc/PID/stat (include/linux/sched.h).
func bornDead(pid int) bool {
	p, err := readProcess(pid)
	return err == nil && p.flags&0x40 != 0
}

func (c *cgroup) closeBirths() {
	if c.births != nil {
		_ = removeCgroup(c.births.Name()) // or with the rest
		_ = c.births.Close()
		c.births = nil
	}
}

// populated reports whether something lives in it, or may: to miss that for lack of
// descriptors is to take it for dead.
func (c *cgroup) populated() bool {
	if c == nil {
		return false
	}
	events, err := os.ReadFile(filepath.Join(c.path, "cgroup.events"))
	gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
	return !gone && (err != nil || bytes.Contains(events, []byte("populated 1")))
}

// remove removes an empty cgroup with what the tree made below it. The kernel
// may take a moment to see that the dead have left.
func (c *cgroup) remove() {
	if c == nil {
		return
	}
	for pass := range 50 {
		if err := removeCgroup(c.path); err == nil || errors.Is(err, fs.ErrNotExist) {
			break
		}
		<-time.After(min(time.Duration(pass+1)*time.Millisecond, 20*time.Millisecond))
	}
	c.close()
}

func (c *cgroup) close() {
	if c == nil {
		return
	}
	c.closeBirths()
	_ = c.file.Close()
	_ = unix.Close(c.dir)
}

// removeCgroup removes from the bottom up: the files in a cgroup cannot be
// deleted and go with it.
func removeCgroup(path string) error {
	err := unix.Rmdir(path)
	if err == nil || !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeCgroup(filepath.Join(path, e.Name())))
		}
	}
	return errors.Join(err, unix.Rmdir(path))
}
