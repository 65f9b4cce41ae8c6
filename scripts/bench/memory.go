//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// kinds are the lines of smaps_rollup (proc(5)). Anonymous memory is what the
// kernel cannot drop and read again from the binary.
var kinds = []struct{ name, line string }{{"PSS", "Pss"}, {"anon", "Pss_Anon"}}

// sample adds the memory of all its processes.
func (x *role) sample(t *table) error {
	pids := x.pids()
	for _, kind := range kinds {
		row := t.rowNamed(x.r.c, x.what, kind.name)
		var sum float64
		var parts []string
		for _, pid := range pids {
			n, err := memoryOf(pid, kind.line)
			if err != nil {
				return fmt.Errorf("read memory: %w", err)
			}
			sum += n
			parts = append(parts, t.format(n))
		}
		row.Samples = append(row.Samples, sum)
		if len(parts) > 1 {
			row.Remark = "supervisor, guard, sentinel: " + strings.Join(parts, " + ")
		}
	}
	return nil
}

// memoryOf returns one line of smaps_rollup, in bytes.
func memoryOf(pid int, kind string) (float64, error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, kind+":"); ok {
			n, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return 1024 * n, err // "kB" is KiB
		}
	}
	return 0, fmt.Errorf("%s: no %s", path, kind)
}

// copyFile copies as cp(1) does: how a file came into the page cache bears on
// how much of it a process maps.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
