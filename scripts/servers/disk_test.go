package servers

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	d := NewDisk(t, dir, 2)
	write := func() error { return os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600) }
	must(t, d.Fill())
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("written on a full disk: %v", err)
	}
	must(t, d.Free())
	must(t, d.Free()) // no harm
	must(t, write())
}

// A node whose disk is full is restarted once there is room.
func TestEtcdDiskFull(t *testing.T) {
	Require(t, "netns")
	e := StartEtcd(t, EtcdOptions{Disk: 128, Fast: true})
	must(t, e.FillDisk(0))
	must(t, e.FreeDisk(0))
	must(t, e.Restart(0))
	_, err := e.Ctl("put", "a", "b")
	must(t, err)
}
