//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// A report is what one run found; it is written as JSON as it stands.
type report struct {
	When    time.Time         `json:"when"`
	Machine map[string]string `json:"machine"`
	Tables  []*table          `json:"tables"`
}

// A table is one measurement.
type table struct {
	Key   string `json:"key"`
	Title string `json:"title"`
	Unit  string `json:"unit"` // of samples: ns, B or requests
	Rows  []*row `json:"rows"`
	Error string `json:"error,omitempty"`
}

// A row is one contender.
type row struct {
	Contender string    `json:"contender"`
	What      string    `json:"what,omitempty"` // leader, standby or how many of them
	Kind      string    `json:"kind,omitempty"` // PSS or anon
	Samples   []float64 `json:"samples"`
	Summary   *summary  `json:"summary,omitempty"`
	Ratios    []ratio   `json:"ratios,omitempty"`
	Remark    string    `json:"remark,omitempty"`
	Error     string    `json:"error,omitempty"`

	c contender
}

// A ratio is the row's median over another's, and whether that meets its target, if
// there is one. A target that is an amount is to nothing.
type ratio struct {
	To     string  `json:"to,omitempty"`
	Value  float64 `json:"value"`
	Target string  `json:"target,omitempty"`
	Met    bool    `json:"met,omitempty"`
}

func (t *table) row(c contender) *row { return t.rowNamed(c, "", "") }

func (t *table) rowNamed(c contender, what, kind string) *row {
	r := t.find(c.key, what, kind)
	if r == nil {
		r = &row{Contender: c.key, What: what, Kind: kind, c: c}
		t.Rows = append(t.Rows, r)
	}
	return r
}

func (t *table) find(key, what, kind string) *row {
	for _, r := range t.Rows {
		if r.Contender == key && r.What == what && r.Kind == kind {
			return r
		}
	}
	return nil
}

func (b *bench) describe(ctx context.Context) *report {
	first := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		if err != nil {
			return "?"
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	m := map[string]string{
		"processors": fmt.Sprint(runtime.NumCPU()),
		"files":      fileSystem(b.dir) + " in " + filepath.Dir(b.dir),
		"go":         runtime.Version(),
		"leaderrun":  first(b.leaderrun, "--version"),
		"flock":      first("flock", "--version"),
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		m["load before"] = strings.TrimSpace(string(data))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m["kernel"] = unix.ByteSliceToString(u.Release[:])
	}
	for name := range b.servers {
		m[name] = "one node"
	}
	for name, arg := range map[string]string{etcd: "--version", consul: "version"} {
		if bin, err := servers.Bin(name); err == nil && b.servers[name] != nil {
			m[name] = first(bin, arg) + ", one node"
		}
	}
	return &report{When: time.Now().Truncate(time.Second), Machine: m}
}

// fileSystem is where the file store, the lock files and etcd's log are.
func fileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "?"
	}
	names := map[uint32]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs (no disk!)", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	}
	if name, ok := names[uint32(st.Type)]; ok {
		return name
	}
	return fmt.Sprintf("%#x", st.Type)
}

// compare summarises the samples, relates the medians to the rival's and judges them
// by the targets.
func (rep *report) compare() {
	for _, t := range rep.Tables {
		for _, r := range t.Rows {
			if len(r.Samples) > 0 {
				r.Summary = summarise(r.Samples)
			}
		}
		for _, r := range t.Rows {
			other := t.find(r.c.rival, r.What, r.Kind)
			// flock(1) has no time of the processor that could be measured.
			if r.Summary != nil && other != nil && other.Summary != nil && other.Summary.Median > 0 {
				r.relate(other.c.name, r.Summary.Median/other.Summary.Median)
			}
		}
	}
	for _, x := range targets {
		x.judge(rep)
	}
}

// relate returns the ratio to another row, which it adds unless it is there.
func (r *row) relate(to string, value float64) *ratio {
	i := slices.IndexFunc(r.Ratios, func(x ratio) bool { return x.To == to })
	if i < 0 {
		i = len(r.Ratios)
		r.Ratios = append(r.Ratios, ratio{To: to, Value: value})
	}
	return &r.Ratios[i]
}

// find returns a row that has figures, or nil, and its table.
func (rep *report) find(x place) (*table, *row) {
	for _, t := range rep.Tables {
		if t.Key == x.table {
			if r := t.find(x.contender, x.what, x.kind); r != nil && r.Summary != nil {
				return t, r
			}
		}
	}
	return nil, nil
}

func (rep *report) write(path string) error {
	data, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// failures is an error if something could not be measured.
func (rep *report) failures() error {
	var errs []error
	for _, t := range rep.Tables {
		if t.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", t.Key, t.Error))
		}
		for _, r := range t.Rows {
			if r.Error != "" {
				errs = append(errs, fmt.Errorf("%s/%s: %s", t.Key, r.Contender, r.Error))
			}
		}
	}
	return errors.Join(errs...)
}
