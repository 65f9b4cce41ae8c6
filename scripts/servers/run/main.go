// Command run installs, starts and stops the servers that leaderrun is tried
// against, for people and for shell scripts:
//
//	go run ./scripts/servers/run install etcd
//	go run ./scripts/servers/run start etcd [--nodes N] --dir DIR
//	go run ./scripts/servers/run stop --dir DIR
//
// start leaves the servers running and prints, as the last line of standard output,
// the URL for `leaderrun --store`. stop ends exactly what start began in DIR.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"leaderrun/scripts/servers"
)

const usage = `usage: run install etcd
       run start etcd [--nodes N] --dir DIR
       run stop --dir DIR`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	verb, args := args[0], args[1:]
	if verb == "stop" {
		return stop(ctx, args)
	}
	if len(args) == 0 {
		return errors.New(usage)
	}
	store, args := args[0], args[1:]
	switch {
	case verb == "install" && len(args) == 0:
		return servers.Install(ctx, store)
	case verb == "start" && store == "etcd":
		return startEtcd(ctx, args)
	}
	return errors.New(usage)
}

func startEtcd(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("start", flag.ContinueOnError)
	nodes := flags.Int("nodes", 1, "how many")
	dir := flags.String("dir", "", "where data, logs and process ids go")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// The installation takes as long as it takes; the start is bounded.
	if err := servers.Install(ctx, "etcd"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	e, err := servers.StartDetachedEtcd(ctx, servers.EtcdOptions{Nodes: *nodes, Dir: *dir})
	if err != nil {
		return err
	}
	fmt.Println(e.URL())
	return nil
}

func stop(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("stop", flag.ContinueOnError)
	dir := flags.String("dir", "", "the directory given to start")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		return errors.New(usage)
	}
	return servers.StopDetached(ctx, *dir)
}
