//go:build linux

// Command bench measures leaderrun beside `consul lock`, `etcdctl lock` and flock(1)
// on the same stores, in one run on one machine, in turns: a round of each, then the
// next round of each. It prints a table for people, with the ratios that issue 5 has
// targets for, and writes the samples as JSON. A missed target is no failure.
//
// What a time is: from the moment before the fault (a signal, a command to the
// child to end) to the first instruction of the next child, on CLOCK_BOOTTIME; of a
// loss, to the death of the child. The start of the child itself (exec, Go's runtime)
// is in every handover, and printed alone. The standby is known to be in the queue
// before the fault.
//
// What a request is: what a candidate sends through a proxy of its own, the same way
// for leaderrun and its rival. To etcd it is a message of gRPC (each keep-alive on a
// stream is one, each watch; /metrics counts them as grpc_server_msg_received_total,
// with the ends of streams), to Consul a request of HTTP (a blocking query counts when
// it is asked), to ZooKeeper a packet (pings too; mntr counts them as
// zk_packets_received).
//
// What it is not: a figure of another machine, or of this one under load. Compare
// within one run; hence the ratios. The servers are one node each, on loopback, that
// sync to this disk.
//
// Whatever it starts dies with it, however it ends, and is ended by process id;
// its files are in one temporary directory that it removes, on SIGINT and SIGTERM
// too.
//
// A fleet of leaders and standbys (-many) shares the processors with its store and this
// program: take as many as leave some of them idle, or it measures only that.
//
//	go run ./scripts/bench [-n ROUNDS] [-minute D] [-many N] [-only LIST] [-o FILE] [-bin LEADERRUN]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"leaderrun/scripts/servers"
)

func main() {
	rounds := flag.Int("n", 15, "rounds of each measurement of time")
	only := flag.String("only", "", "measure only what contains one of these, separated by commas: "+
		"takeover, etcd, cold/flock; see -list")
	minute := flag.Duration("minute", time.Minute, "how long memory, processor time and requests are watched")
	many := flag.Int("many", 50, "leaders, and as many standbys, that run at once on this host")
	list := flag.Bool("list", false, "print what there is to measure, as MEASUREMENT/CONTENDER")
	out := flag.String("o", "", "where the JSON goes (default .cache/bench.json of the checkout)")
	bin := flag.String("bin", "", "the leaderrun to measure (default: a release build of the checkout)")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *many < few {
		flag.Usage()
		os.Exit(64)
	}
	if *list {
		for _, m := range measurements {
			for _, c := range m.contenders {
				fmt.Println(m.key + "/" + c.key)
			}
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, &bench{rounds: *rounds, minute: *minute, many: *many, only: *only, leaderrun: *bin, servers: map[string]server{}}, *out)
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", err)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A bench is one run.
type bench struct {
	rounds    int
	only      string
	minute    time.Duration
	many      int
	leaderrun string // binary
	child     string
	dir       string
	servers   map[string]server // those that run, by store
	serial    atomic.Int64      // of the last election
}

func run(ctx context.Context, b *bench, out string) (err error) {
	root, err := servers.Root()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(measurements, func(m measurement) bool { return len(b.chosen(m)) > 0 }) {
		return fmt.Errorf("-only %s: nothing is called so; see -list", b.only)
	}
	if out == "" {
		out = filepath.Join(root, ".cache", "bench.json")
	}
	if b.dir, err = os.MkdirTemp("", "leaderrun-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.build(ctx, root); err != nil {
		return err
	}
	defer func() {
		for _, s := range b.servers {
			err = errors.Join(err, s.Stop())
		}
	}()
	if err := b.startServers(ctx); err != nil {
		return err
	}
	rep := b.describe(ctx)
	for _, m := range measurements {
		contenders := b.chosen(m)
		if len(contenders) == 0 {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s %s\n", time.Now().Format(time.TimeOnly), m.key)
		tables := m.measure(ctx, b, contenders)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rep.Tables = append(rep.Tables, tables...)
	}
	rep.compare()
	fmt.Print(rep)
	if err := rep.write(out); err != nil {
		return err
	}
	fmt.Println("\nsamples:", out)
	return rep.failures()
}

// build makes the programs that are measured, as they are shipped.
func (b *bench) build(ctx context.Context, root string) error {
	b.child = filepath.Join(b.dir, "child")
	pkgs := map[string]string{b.child: "./scripts/bench/child"}
	if b.leaderrun == "" {
		b.leaderrun = filepath.Join(b.dir, "leaderrun")
		pkgs[b.leaderrun] = "."
	}
	for path, pkg := range pkgs {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, pkg)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
		}
	}
	var err error
	b.leaderrun, err = filepath.Abs(b.leaderrun)
	return err
}

// chosen returns the contenders of a measurement that -only leaves.
func (b *bench) chosen(m measurement) (left []contender) {
	for _, c := range m.contenders {
		for want := range strings.SplitSeq(b.only, ",") {
			if strings.Contains(m.key+"/"+c.key, strings.TrimSpace(want)) {
				left = append(left, c)
				break
			}
		}
	}
	return left
}
