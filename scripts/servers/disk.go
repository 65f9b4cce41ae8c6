package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A Disk is a directory on a small file system of its own, in memory, that can be
// full. Its device's name ends in the process id of its maker: one whose maker is
// gone is unmounted by the next test that makes one.
type Disk struct{ dir string }

const diskPrefix = "leaderrun-disk-"

// NewDisk mounts one of so many MiB on the directory, until the end of the test.
func NewDisk(t testing.TB, dir string, size int) *Disk {
	t.Helper()
	Require(t, "netns") // who may make those may mount, too
	d, err := mountDisk(dir, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func mountDisk(dir string, size int) (*Disk, error) {
	sweepDisks()
	device := diskPrefix + strconv.Itoa(os.Getpid())
	return &Disk{dir}, system("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", size), device, dir)
}

// unmount does not wait for who has files open there.
func (d *Disk) unmount() error { return system("umount", "--lazy", d.dir) }

func system(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// sweepDisks unmounts those of SIGKILLed tests.
func sweepDisks() {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		device, rest, _ := strings.Cut(line, " ")
		dir, _, _ := strings.Cut(rest, " ")
		maker, ours := strings.CutPrefix(device, diskPrefix)
		if pid, err := strconv.Atoi(maker); ours && err == nil && !alive(pid) {
			_ = (&Disk{dir}).unmount() // another test may be at it too
		}
	}
}

func (d *Disk) ballast() string { return filepath.Join(d.dir, ".ballast") }

// Fill leaves not a byte.
func (d *Disk) Fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for block := 1 << 20; block > 0 && err == nil; block >>= 4 {
		for err == nil {
			_, err = f.Write(make([]byte, block))
		}
		if errors.Is(err, syscall.ENOSPC) {
			err = nil
		}
	}
	return errors.Join(err, f.Close())
}

// Free undoes Fill.
func (d *Disk) Free() error {
	if err := os.Remove(d.ballast()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// FillDisk leaves not a byte of the node's disk. It takes a cluster with disks.
func (c *cluster) FillDisk(node int) error {
	if c.nodes[node].disk == nil {
		return fmt.Errorf("fill the disk of %s %d: it has none of its own, Disk is not set", c.name, node)
	}
	return c.nodes[node].disk.Fill()
}

// FreeDisk undoes FillDisk.
func (c *cluster) FreeDisk(node int) error { return c.nodes[node].disk.Free() }

// mountDisks gives each node a disk for its data.
func (c *cluster) mountDisks() (err error) {
	for _, n := range c.nodes {
		if n.disk, err = mountDisk(n.data, c.disk); err != nil {
			n.disk = nil
			return err
		}
	}
	return nil
}

func (c *cluster) unmountDisks() error {
	var errs []error
	for _, n := range c.nodes {
		if n.disk != nil {
			errs = append(errs, n.disk.unmount())
			n.disk = nil
		}
	}
	return errors.Join(errs...)
}
