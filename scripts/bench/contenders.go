//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A contender is one way to run a command under a lock.
type contender struct {
	key, name string
	rival     string // key of whom its figures are divided by; "" for a rival itself
	etcd      bool   // needs one
	binary    func(*bench) (string, error)
	args      func(*bench, *round, string) []string            // before the command; of a candidate's id
	queued    func(context.Context, *round, int) (bool, error) // is the standby of that pid in the queue?

	once  time.Duration // if set: measured once, for at most so long, because it may take for ever
	flags []string      // more of its own
}

var (
	leaderrunFile = contender{
		key: "leaderrun-file", name: "leaderrun file", rival: "flock",
		binary: func(b *bench) (string, error) { return b.leaderrun, nil },
		args: func(_ *bench, r *round, id string) []string {
			dir := url.URL{Scheme: "file", Path: filepath.Join(r.dir, "store")}
			return leaderrunArgs(dir.String(), r.election, id)
		},
		queued: leaderrunQueued,
	}
	leaderrunEtcd = contender{
		key: "leaderrun-etcd", name: "leaderrun etcd", rival: "etcdctl", etcd: true,
		binary: func(b *bench) (string, error) { return b.leaderrun, nil },
		args: func(b *bench, r *round, id string) []string {
			return leaderrunArgs(b.etcd.URL(), r.election, id)
		},
		queued: leaderrunQueued,
	}
	flock = contender{
		key: "flock", name: "flock(1)",
		binary: func(*bench) (string, error) { return exec.LookPath("flock") },
		args:   func(_ *bench, r *round, _ string) []string { return []string{filepath.Join(r.dir, "lock")} },
		queued: flockQueued,
	}
	etcdctl = contender{
		key: "etcdctl", name: "etcdctl lock", etcd: true,
		binary: func(b *bench) (string, error) { return b.etcdctl, nil },
		args: func(_ *bench, r *round, _ string) []string {
			return slices.Concat([]string{"lock"}, r.c.flags, []string{r.election})
		},
		queued: etcdctlQueued,
	}
	// leaderrunBinary is for what no store bears on.
	leaderrunBinary = contender{
		key: "leaderrun", name: "leaderrun", rival: "etcdctl",
		binary: func(b *bench) (string, error) { return b.leaderrun, nil },
	}
	// bare runs the command without any lock: what is in every figure.
	bare = contender{key: "bare", name: "no lock"}
)

// within is the contender with a bound on what may take for ever.
func (c contender) within(limit time.Duration, flags ...string) contender {
	c.once, c.flags = limit, flags
	return c
}

// argv is the contender's command line.
func (c contender) argv(b *bench, r *round, bin, id string, command ...string) []string {
	if c.args == nil {
		return command
	}
	return slices.Concat([]string{bin}, c.args(b, r, id), command)
}

// env is this program's without what would change a contender.
func (c contender) env(b *bench) []string {
	if c.etcd && c.rival == "" {
		return b.etcd.CtlEnv()
	}
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LEADERRUN_") || strings.HasPrefix(v, "ETCD")
	})
}

// leaderrunArgs leaves every setting that bears on time at its default.
func leaderrunArgs(store, election, id string) []string {
	return []string{"--log-format=json", "--store", store, "--name", election, "--id", id, "--"}
}

// A logLine is what is read of leaderrun's log.
type logLine struct{ Level, Msg, Cause, Leader string }

func readLog(path string) (lines []logLine) {
	data, _ := os.ReadFile(path)
	for text := range strings.Lines(string(data)) {
		var line logLine
		if json.Unmarshal([]byte(text), &line) == nil {
			lines = append(lines, line)
		}
	}
	return lines
}

// leaderrunQueued: a standby says who leads once it is in the queue.
func leaderrunQueued(_ context.Context, r *round, _ int) (bool, error) {
	return slices.ContainsFunc(readLog(r.standby.log), func(l logLine) bool {
		return l.Msg == "standing by" && l.Leader != ""
	}), nil
}

// flockQueued: a line of proc_locks(5) with an arrow is one who waits.
func flockQueued(_ context.Context, _ *round, pid int) (bool, error) {
	data, err := os.ReadFile("/proc/locks")
	return waitsForFlock(string(data), pid), err
}

func waitsForFlock(locks string, pid int) bool {
	for line := range strings.Lines(locks) {
		f := strings.Fields(line)
		if len(f) > 5 && f[1] == "->" && f[2] == "FLOCK" && f[5] == fmt.Sprint(pid) {
			return true
		}
	}
	return false
}

// etcdctlQueued: each waiter of `etcdctl lock NAME` has a key below NAME/.
func etcdctlQueued(_ context.Context, r *round, _ int) (bool, error) {
	keys, err := r.bench.etcd.Ctl("get", r.election+"/", "--prefix", "--keys-only")
	return len(strings.Fields(keys)) == 2, err
}
