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
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
	Unit  string `json:"unit"` // of samples: ns or B
	Rows  []*row `json:"rows"`
	Error string `json:"error,omitempty"`
}

// A row is one contender.
type row struct {
	Contender string    `json:"contender"`
	What      string    `json:"what,omitempty"` // leader or standby
	Kind      string    `json:"kind,omitempty"` // PSS, anon or RSS
	Samples   []float64 `json:"samples"`
	Summary   *summary  `json:"summary,omitempty"`
	Ratios    []ratio   `json:"ratios,omitempty"`
	Remark    string    `json:"remark,omitempty"`
	Error     string    `json:"error,omitempty"`

	c contender
}

// A ratio is the row's median over another's.
type ratio struct {
	To    string  `json:"to"`
	Value float64 `json:"value"`
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
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m["kernel"] = unix.ByteSliceToString(u.Release[:])
	}
	if b.etcd != nil {
		m["etcd"] = first(b.etcdctl, "version") + ", one node"
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

// compare summarises the samples and relates the medians: each contender's to
// its rival's, and a takeover to the handover of the same contender.
func (rep *report) compare() {
	handovers := map[string]float64{}
	for _, t := range rep.Tables {
		for _, r := range t.Rows {
			if len(r.Samples) > 0 {
				r.Summary = summarise(r.Samples)
			}
		}
		for _, r := range t.Rows {
			if r.Summary == nil {
				continue
			}
			if other := t.find(r.c.rival, r.What, r.Kind); other != nil && other.Summary != nil {
				r.Ratios = append(r.Ratios, ratio{other.c.name, r.Summary.Median / other.Summary.Median})
			}
			switch own := handovers[r.Contender]; {
			case t.Key == "handover":
				handovers[r.Contender] = r.Summary.Median
			case t.Key == "takeover" && own > 0:
				r.Ratios = append(r.Ratios, ratio{"its handover", r.Summary.Median / own})
			}
		}
	}
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
