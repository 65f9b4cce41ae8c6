//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/lock/bootclock"
)

// A stamp is what a child tells when it starts.
type stamp struct {
	at  bootclock.Instant
	pid int
}

// stage is where the children of one round report and learn their end: two
// FIFOs, so that nothing polls while time is measured, and whose closing ends
// every child that is left.
type stage struct {
	stampsPath, endPath string
	stamps, end         *os.File
	arrived             chan stamp
}

var errNoChild = errors.New("no child started")

func newStage(dir string) (*stage, error) {
	s := &stage{
		stampsPath: filepath.Join(dir, "stamps"), endPath: filepath.Join(dir, "end"),
		arrived: make(chan stamp, 16),
	}
	var err error
	if s.stamps, err = fifo(s.stampsPath); err != nil {
		return nil, err
	}
	if s.end, err = fifo(s.endPath); err != nil {
		_ = s.stamps.Close()
		return nil, err
	}
	go func() {
		for lines := bufio.NewScanner(s.stamps); lines.Scan(); {
			var st stamp
			if _, err := fmt.Sscan(lines.Text(), &st.at, &st.pid); err == nil {
				s.arrived <- st
			}
		}
	}()
	return s, nil
}

// fifo opens both ends, so that a child that comes or goes is no end of file.
func fifo(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("make FIFO %s: %w", path, err)
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// next returns the stamp of the next child.
func (s *stage) next(ctx context.Context, limit time.Duration) (stamp, error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case st := <-s.arrived:
		return st, nil
	case <-late.C:
		return stamp{}, fmt.Errorf("%w within %v", errNoChild, limit)
	case <-ctx.Done():
		return stamp{}, ctx.Err()
	}
}

// endOne makes one child end by itself.
func (s *stage) endOne() error {
	_, err := s.end.Write([]byte{'\n'})
	return err
}

// close makes all children end by themselves.
func (s *stage) close() error { return errors.Join(s.stamps.Close(), s.end.Close()) }
