//go:build unix

package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/stores"
)

// A ticket is what the guard passes to the release command, on its standard
// input. It holds no secret.
type ticket struct {
	Settings  lock.Settings
	Data      json.RawMessage // the store's
	Election  string
	Candidate string
	Labels    map[string]string
	TTL       duration
	LogFormat string
	LogLevel  string
}

func (o *options) ticket(s lock.Settings, t lock.Ticket) ticket {
	return ticket{
		Settings: s, Data: t.Data, Election: o.name, Candidate: o.id, Labels: o.labels,
		TTL: o.ttl, LogFormat: o.logFormat, LogLevel: o.logLevel,
	}
}

// maxTicket fits the guard's pipe, of which it takes four thirds.
const maxTicket = 32 << 10

// fits refuses settings of which no guard could ever be told.
func (t ticket) fits() error {
	b, err := json.Marshal(t)
	if len(b) > maxTicket-1<<10 { // the store's own part comes to it
		err = usagef("--store, --label and the other settings take %d bytes together: %d is the most", len(b), maxTicket-1<<10)
	}
	return err
}

func readTicket(r io.Reader) (t ticket, err error) {
	err = json.NewDecoder(io.LimitReader(r, maxTicket)).Decode(&t)
	return t, err
}

// releaseMain is the hidden command with which a guard that is left alone
// gives the lock back: release [HELD], HELD being the lock's descriptor. It
// tries until the lease has ended by itself.
func releaseMain(args []string) int {
	t, err := readTicket(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaderrun: release is started by leaderrun itself")
		return exitUsage
	}
	given := lock.Ticket{Data: t.Data}
	if len(args) > 0 {
		fd, err := strconv.Atoi(args[0])
		if err != nil {
			return exitUsage
		}
		given.File = os.NewFile(uintptr(fd), "lock")
	}
	level, err := logLevel(t.LogLevel)
	if err != nil {
		return exitUsage
	}
	o := options{name: t.Election, id: t.Candidate, labels: t.Labels, logFormat: t.LogFormat}
	queue := newLogQueue(t.LogFormat, writeStderr)
	defer queue.flush()
	log := o.logger(queue, level, t.Settings.URL)

	ctx, cancel := context.WithTimeout(context.Background(), max(time.Duration(t.TTL), 5*time.Second))
	defer cancel()
	store, err := stores.Open(t.Settings)
	if err == nil {
		err = store.Release(ctx, given)
	}
	if err != nil {
		log.Warn("not released: the lease has to end by itself", "cause", oneLine(err))
		return exitStatus(err)
	}
	log.Info("released", "cause", "given back by the guard")
	return 0
}
