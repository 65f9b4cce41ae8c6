//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A fleet is many elections on this host, two candidates each.
type fleet struct {
	bench    *bench
	c        contender
	addr     string // of the store
	dir      string
	children string // file: a line for each child
	posts    []*post
}

// A post is one of its elections.
type post struct {
	election   string
	candidates []*process
	skip       map[*process]int // of its log: what is of no matter any more
	child      int              // pid of the latest
	terms      int              // children so far
}

func (b *bench) newFleet(c contender, addr string, n int) (*fleet, error) {
	name := fmt.Sprintf("fleet-%d", b.serial.Add(1))
	f := &fleet{bench: b, c: c, addr: addr, dir: filepath.Join(b.dir, name)}
	f.children = filepath.Join(f.dir, "children")
	for i := range n {
		f.posts = append(f.posts, &post{election: fmt.Sprintf("%s-%d", name, i), skip: map[*process]int{}})
	}
	return f, os.Mkdir(f.dir, 0o700)
}

// starting is how many candidates start at the same time: starting them is by far the
// hardest of what they do, and a host that does nothing else answers no renewals.
const starting = 4

// join starts one more candidate of each election and waits until it leads, or stands
// by.
func (f *fleet) join(ctx context.Context, role string, limit time.Duration) error {
	late := time.Now().Add(limit)
	slots := make(chan struct{}, starting)
	errs := make([]error, len(f.posts))
	var all sync.WaitGroup
	for i, p := range f.posts {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = f.start(ctx, p, role, time.Until(late))
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err // one speaks for all
		}
	}
	return ctx.Err()
}

// childScript notes the child, with its election, and then does nothing.
const childScript = `echo "$LEADERRUN_ELECTION $$" >>"$0"; exec sleep 1000000`

func (f *fleet) start(ctx context.Context, p *post, role string, limit time.Duration) error {
	r := &round{bench: f.bench, c: f.c, election: p.election}
	argv := append(ordinary(), f.c.argv(r, f.bench.leaderrun, f.addr, role, "/bin/sh", "-c", childScript, f.children)...)
	q, err := start(argv, environment(), filepath.Join(f.dir, p.election+"-"+role+".log"))
	if err != nil {
		return err
	}
	p.candidates = append(p.candidates, q)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(max(limit, 0)); !p.says(q, role); {
		select {
		case <-tick.C:
		case <-end:
			return fmt.Errorf("%s of %s is none in time:\n%s", role, p.election, q.logTail())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// says tells whether the log has a role in it, of late.
func (p *post) says(q *process, role string) bool {
	lines := readLog(q.log)
	return slices.ContainsFunc(lines[min(p.skip[q], len(lines)):], func(l logLine) bool {
		return role == leader && l.Msg == "child started" || role == standby && l.Msg == "standing by" && l.Leader != ""
	})
}

// forget makes what logs say so far of no matter.
func (f *fleet) forget() {
	for _, p := range f.posts {
		for _, q := range p.candidates {
			p.skip[q] = len(readLog(q.log))
		}
	}
}

// look reads which children there were, and returns how many.
func (f *fleet) look() (n int, err error) {
	data, err := os.ReadFile(f.children)
	if err != nil {
		return 0, err
	}
	posts := map[string]*post{}
	for _, p := range f.posts {
		p.terms = 0
		posts[p.election] = p
	}
	for line := range strings.Lines(string(data)) {
		election, pid, _ := strings.Cut(strings.TrimSpace(line), " ")
		if p := posts[election]; p != nil {
			p.terms++
			p.child, _ = strconv.Atoi(pid)
			n++
		}
	}
	return n, nil
}

// inOrder tells whether each election has a child that lives, after so many before it,
// and somebody who stands by, of late.
func (f *fleet) inOrder(before map[*post]int) (bool, error) {
	if _, err := f.look(); err != nil {
		return false, err
	}
	for _, p := range f.posts {
		if _, alive := identify(p.child); !alive || p.terms <= before[p] {
			return false, nil
		}
	}
	for _, p := range f.posts {
		if !slices.ContainsFunc(p.candidates, func(q *process) bool { return p.says(q, standby) }) {
			return false, nil
		}
	}
	return true, nil
}

// cpu is what all candidates have had of processors, without their children.
func (f *fleet) cpu() (sum time.Duration) {
	for _, pid := range f.pids(f.posts) {
		t, _ := cpuTime(pid)
		sum += t
	}
	return sum
}

// pids are the processes of candidates but for the children. It looks at the host's
// processes once: there are thousands.
func (f *fleet) pids(posts []*post) (pids []int) {
	supervisors := map[int]bool{}
	children := map[int]bool{}
	for _, p := range posts {
		children[p.child] = true
		for _, q := range p.candidates {
			supervisors[q.pid()] = true
		}
	}
	above := parents()
	for pid := range above {
		for up := pid; up > 1 && !children[pid]; up = above[up] {
			if supervisors[up] {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// leave ends all candidates, those who stand by first.
func (f *fleet) leave(limit time.Duration) error {
	late := time.Now().Add(limit)
	var errs []error
	for i := range 2 {
		var going []*process
		for _, p := range f.posts {
			if n := len(p.candidates) - 1 - i; n >= 0 {
				going = append(going, p.candidates[n])
				_ = p.candidates[n].signal(syscall.SIGTERM)
			}
		}
		for _, q := range going {
			errs = append(errs, q.wait(max(time.Until(late), time.Second)))
		}
	}
	return errors.Join(errs...)
}

// ordinary begins the command line of a process that is not preferred as we are.
func ordinary() []string { return []string{"nice", "-n", strconv.Itoa(preferred)} }
