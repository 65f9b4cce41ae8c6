//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
)

// waiting tells whether all standbys of a round are in the queue.
type waiting func(*round) (bool, error)

// each asks of one standby after the other, and of none that was seen there again.
func each(inQueue func(*process) (bool, error)) waiting {
	return func(r *round) (bool, error) {
		for _, p := range r.standbys {
			if p.queued {
				continue
			}
			var err error
			if p.queued, err = inQueue(p); err != nil || !p.queued {
				return false, err
			}
		}
		return true, nil
	}
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

// standingBy: a leaderrun says who leads once it is in the queue.
func standingBy(p *process) (bool, error) {
	return slices.ContainsFunc(readLog(p.log), func(l logLine) bool {
		return l.Msg == "standing by" && l.Leader != ""
	}), nil
}

// inLocks: a line of proc_locks(5) with an arrow is one who waits.
func inLocks(p *process) (bool, error) {
	data, err := os.ReadFile("/proc/locks")
	return waitsForFlock(string(data), p.pid()), err
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

// etcdKeys: each candidate of `etcdctl lock NAME` has a key below NAME/.
func etcdKeys(r *round) (bool, error) {
	kvs, err := r.etcdRange(r.election + "/")
	return len(kvs) == 1+len(r.standbys), err
}

// consulSessions: the waiters of `consul lock` leave no trace at the lock; each has
// made a session that bears its name, a few milliseconds before it waits.
func consulSessions(r *round) (bool, error) {
	var sessions []struct{ Name string }
	err := ask(http.MethodGet, "http://"+r.bench.addr(consul)+"/v1/session/list?consistent", nil, &sessions)
	n := 0
	for _, s := range sessions {
		if strings.HasSuffix(s.Name, "at '"+r.election+"'") {
			n++
		}
	}
	return n == 1+len(r.standbys), err
}
