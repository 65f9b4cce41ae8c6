//go:build linux

package main

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"leaderrun/scripts/servers"
)

// A contender is one way to run a command under a lock.
type contender struct {
	key, name string
	rival     string // key of whom its figures are divided by; "" for a rival itself
	store     string // the server that it needs: a key of starters; "" for none
	binary    func(*bench) (string, error)
	args      func(r *round, addr, id string) []string // before the command; of the store's address and a candidate's id
	queued    waiting                                  // nil: there is no queue to look at
	lease     func(*round) (revoke func() error, err error)

	once  time.Duration // if set: measured once, for at most so long, because it may take for ever
	flags []string      // more of its own
}

var (
	leaderrunFile = contender{
		key: "leaderrun-file", name: "leaderrun file", rival: "flock",
		binary: leaderrunBinary, queued: each(standingBy),
		args: func(r *round, _, id string) []string {
			dir := url.URL{Scheme: "file", Path: filepath.Join(r.dir, "store")}
			return leaderrunArgs(r, dir.String(), id)
		},
	}
	leaderrunEtcd = contender{
		key: "leaderrun-etcd", name: "leaderrun etcd", rival: "etcdctl", store: etcd,
		binary: leaderrunBinary, args: leaderrunOn("etcd"), queued: each(standingBy), lease: etcdLease,
	}
	leaderrunConsul = contender{
		key: "leaderrun-consul", name: "leaderrun consul", rival: "consul-lock", store: consul,
		binary: leaderrunBinary, args: leaderrunOn("consul"), queued: each(standingBy), lease: consulLease,
	}
	// No tool that wraps a command comes with ZooKeeper: it is held against Consul's.
	leaderrunZK = contender{
		key: "leaderrun-zk", name: "leaderrun zk", rival: "consul-lock", store: zookeeper,
		binary: leaderrunBinary, args: leaderrunOn("zk"), queued: each(standingBy), lease: zkNode,
	}
	flock = contender{
		key: "flock", name: "flock(1)",
		binary: func(*bench) (string, error) { return exec.LookPath("flock") },
		args:   func(r *round, _, _ string) []string { return []string{filepath.Join(r.dir, "lock")} },
		queued: each(inLocks),
	}
	etcdctl = contender{
		key: "etcdctl", name: "etcdctl lock", store: etcd,
		binary: installed("etcdctl"), queued: etcdKeys, lease: etcdLease,
		args: func(r *round, addr, _ string) []string {
			return slices.Concat([]string{"--endpoints=http://" + addr, "lock"}, r.c.flags, []string{r.election})
		},
	}
	// Without a shell it is at its best.
	consulLock = contender{
		key: "consul-lock", name: "consul lock", store: consul,
		binary: installed("consul"), queued: consulSessions, lease: consulLease,
		args: func(r *round, addr, _ string) []string {
			return slices.Concat([]string{"lock", "-http-addr=http://" + addr, "-shell=false"}, r.c.flags, []string{r.election})
		},
	}
	// bare runs the command without any lock: what is in every figure.
	bare = contender{key: "bare", name: "no lock"}
)

// programs are contenders for what no store bears on.
var programs = []contender{
	{key: "leaderrun", name: "leaderrun", rival: "etcdctl", binary: leaderrunBinary, flags: []string{"--version"}},
	{key: "flock", name: "flock(1)", binary: flock.binary, flags: []string{"--version"}},
	{key: "etcdctl", name: "etcdctl", binary: etcdctl.binary, flags: []string{"version"}},
	{key: "consul", name: "consul", binary: consulLock.binary, flags: []string{"version"}},
}

func leaderrunBinary(b *bench) (string, error) { return b.leaderrun, nil }

func installed(name string) func(*bench) (string, error) {
	return func(*bench) (string, error) { return servers.Bin(name) }
}

// with is the contender with flags of its own.
func (c contender) with(flags ...string) contender {
	c.flags = flags
	return c
}

// within is the contender with a bound on what may take for ever.
func (c contender) within(limit time.Duration, flags ...string) contender {
	c.once, c.flags = limit, flags
	return c
}

// leaderrunOn takes a store's scheme.
func leaderrunOn(scheme string) func(*round, string, string) []string {
	return func(r *round, addr, id string) []string {
		return leaderrunArgs(r, scheme+"://"+addr+"/leaderrun", id)
	}
}

// leaderrunArgs leaves every setting that bears on time at its default, unless the
// contender says otherwise.
func leaderrunArgs(r *round, store, id string) []string {
	args := []string{"--log-format=json", "--store", store, "--name", r.election, "--id", id}
	return slices.Concat(args, r.c.flags, []string{"--"})
}

// argv is the contender's command line.
func (c contender) argv(r *round, bin, addr, id string, command ...string) []string {
	if c.args == nil {
		return command
	}
	return slices.Concat([]string{bin}, c.args(r, addr, id), command)
}

// environment is this program's without what would change a contender.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return slices.ContainsFunc([]string{"LEADERRUN_", "ETCD", "CONSUL_"}, func(prefix string) bool {
			return strings.HasPrefix(v, prefix)
		})
	})
}
