// Command run installs, starts and stops the servers that leaderrun is tried
// against, for people and for shell scripts:
//
//	go run ./scripts/servers/run install etcd|consul|zookeeper
//	go run ./scripts/servers/run start etcd|consul|zookeeper [--nodes N] --dir DIR
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

const usage = `usage: run install etcd|consul|zookeeper
       run start etcd|consul|zookeeper [--nodes N] --dir DIR
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
	case verb == "start" && starts[store] != nil:
		return start(ctx, store, args)
	}
	return errors.New(usage)
}

// starts are the stores; each function returns the URL.
var starts = map[string]func(ctx context.Context, nodes int, dir string) (string, error){
	"etcd": func(ctx context.Context, nodes int, dir string) (string, error) {
		return url(servers.StartDetachedEtcd(ctx, servers.EtcdOptions{Nodes: nodes, Dir: dir}))
	},
	"consul": func(ctx context.Context, nodes int, dir string) (string, error) {
		return url(servers.StartDetachedConsul(ctx, servers.ConsulOptions{Nodes: nodes, Dir: dir}))
	},
	"zookeeper": func(ctx context.Context, nodes int, dir string) (string, error) {
		return url(servers.StartDetachedZooKeeper(ctx, servers.ZooKeeperOptions{Nodes: nodes, Dir: dir}))
	},
}

func url(c interface{ URL() string }, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return c.URL(), nil
}

func start(ctx context.Context, store string, args []string) error {
	flags := flag.NewFlagSet("start", flag.ContinueOnError)
	nodes := flags.Int("nodes", 1, "how many")
	dir := flags.String("dir", "", "where data, logs and process ids go")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// The installation takes as long as it takes; the start is bounded.
	if err := servers.Install(ctx, store); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	u, err := starts[store](ctx, *nodes, *dir)
	if err != nil {
		return err
	}
	fmt.Println(u)
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
