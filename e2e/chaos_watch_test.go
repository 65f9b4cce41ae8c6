//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookEvery = 10 * time.Millisecond // at the guards that are known
	findEvery = 50 * time.Millisecond // for new ones
)

// A guardWatcher reads the guards' deadlines from the kernel's timers, without
// asking leaderrun: the remaining time in /proc/PID/fdinfo of their timerfd.
type guardWatcher struct {
	e    *election
	quit chan struct{}
	done chan struct{}

	waiting map[int]bool          // guards without a child
	watched map[int]*watchedGuard // guards with one
	seen    map[uint64]*guardSeen // by token
}

type watchedGuard struct {
	*guardSeen
	timer  *os.File // fdinfo of its timerfd
	looked instant
}

// watchGuards begins to look at the guards of the election's candidates.
func watchGuards(e *election) *guardWatcher {
	w := &guardWatcher{
		e: e, quit: make(chan struct{}), done: make(chan struct{}),
		waiting: map[int]bool{}, watched: map[int]*watchedGuard{}, seen: map[uint64]*guardSeen{},
	}
	go w.run()
	return w
}

// stop ends the watch and returns what was seen, by fencing token.
func (w *guardWatcher) stop() map[uint64]guardSeen {
	close(w.quit)
	<-w.done
	seen := map[uint64]guardSeen{}
	for token, g := range w.seen {
		seen[token] = *g
	}
	return seen
}

func (w *guardWatcher) run() {
	defer close(w.done)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var found instant
	for {
		for pid, g := range w.watched {
			if !g.look() {
				_ = g.timer.Close()
				delete(w.watched, pid)
			}
		}
		if now().since(found) >= findEvery {
			found = now()
			for _, pid := range w.e.supervisors() {
				w.find(pid)
			}
			for pid := range w.waiting {
				w.await(pid)
			}
		}
		select {
		case <-ticker.C:
		case <-w.quit:
			for _, g := range w.watched {
				_ = g.timer.Close()
			}
			return
		}
	}
}

// find looks for guards below a leaderrun. All of /proc takes too long while a child
// storms.
func (w *guardWatcher) find(leaderrun int) {
	for _, pid := range childPids(leaderrun) {
		p, ok := readProc(pid)
		switch {
		case !ok || w.watched[pid] != nil:
		case isGuard(p):
			w.waiting[pid] = true
		case isLeaderrun(p): // the first was what it was started with, or a tiny init
			w.find(pid)
		}
	}
}

// childPids returns the children of all threads of a process.
func childPids(parent int) (pids []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, thread := range threads {
		for _, child := range strings.Fields(readFile(thread)) {
			pid, _ := strconv.Atoi(child)
			pids = append(pids, pid)
		}
	}
	return pids
}

// await watches a guard from when it has a child, which knows the fencing token.
func (w *guardWatcher) await(guard int) {
	if p, ok := readProc(guard); !ok || !isGuard(p) {
		delete(w.waiting, guard)
		return
	}
	for _, child := range childPids(guard) {
		token := tokenOf(child)
		if token == 0 {
			continue // it does not execute the command yet
		}
		timer := timerOf(guard)
		if timer == nil {
			continue
		}
		delete(w.waiting, guard)
		g := &watchedGuard{&guardSeen{pid: guard}, timer, now()}
		w.watched[guard], w.seen[token] = g, g.guardSeen
		g.look()
		return
	}
}

// tokenOf returns the fencing token in a process's environment, 0 if there is none.
func tokenOf(pid int) (token uint64) {
	for _, v := range environOf(pid) {
		if value, ok := strings.CutPrefix(v, "LEADERRUN_FENCING_TOKEN="); ok {
			token, _ = strconv.ParseUint(value, 10, 64)
		}
	}
	return token
}

// timerOf opens what the kernel says of a process's timer on CLOCK_BOOTTIME.
func timerOf(pid int) *os.File {
	dir := fmt.Sprintf("/proc/%d/fdinfo", pid)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !strings.Contains(readFile(path), fmt.Sprintf("\nclockid: %d\n", unix.CLOCK_BOOTTIME)) {
			continue
		}
		if f, err := os.Open(path); err == nil {
			return f
		}
	}
	return nil
}

// look reads the timer. It is false once the guard is gone.
func (g *watchedGuard) look() bool {
	var buf [512]byte
	before := now()
	n, err := g.timer.ReadAt(buf[:], 0)
	g.gap = max(g.gap, before.since(g.looked))
	if n == 0 || err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	g.looked = before
	g.seen = before
	// The time that remained at some moment after before: never too late a deadline.
	if left := remaining(string(buf[:n])); left > 0 {
		g.deadline = max(g.deadline, before.add(left))
	}
	return true
}

// remaining parses it_value of fdinfo: zero if the timer has fired or was never set.
func remaining(fdinfo string) time.Duration {
	_, after, _ := strings.Cut(fdinfo, "\nit_value: ")
	var sec, nsec int64
	if _, err := fmt.Sscanf(after, "(%d, %d)", &sec, &nsec); err != nil {
		return 0
	}
	return time.Duration(sec)*time.Second + time.Duration(nsec)
}
