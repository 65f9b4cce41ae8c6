package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"leaderrun/lock/bootclock"
)

// received returns the messages before the first that is none.
func received[M interface{ known() bool }](b []byte) (all []M, err error) {
	err = receive(bytes.NewReader(b), func(m M) { all = append(all, m) })
	return all, err
}

// lines are the same, taken one by one.
func lines[M interface{ known() bool }](t *testing.T, b []byte) {
	t.Helper()
	got, err := received[M](b)
	var want []M
	bad := false
	for line := range bytes.Lines(b) {
		var m M
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if bad = len(line) >= maxMessage || json.Unmarshal(line, &m) != nil || !m.known(); bad {
			break
		}
		want = append(want, m)
	}
	if !reflect.DeepEqual(got, want) || bad != (err != nil) {
		t.Errorf("%q: %+v, %v; want %+v", b, got, err, want)
	}
	for _, m := range got {
		written, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		same, err := received[M](append(written, '\n'))
		if again, _ := json.Marshal(same); err != nil || string(again) != "["+string(written)+"]" {
			t.Errorf("%+v: written %s, read and written again %s, %v", m, written, again, err)
		}
	}
}

// Whatever comes through the pipe, neither side takes half a message for one, nor
// any after the first that is none.
func FuzzReceive(f *testing.F) {
	for _, s := range []string{
		`{"do":"deadline","deadline":5}`, "{\"do\":\"start\",\"run\":1,\"env\":[\"A=B\"]}\n{\"do\"", "null\n[]\n\n", `{"do":"signal","run":1,"signal":-9}`,
		"{\"do\":\"kill\"}\n{}\n{\"do\":\"deadline\",\"deadline\":9}", `{"is":"started","pid":-1}`, `{"is":"dead","cause":"exit"}`, "{\"do\":\"kill\"}\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lines[order](t, b)
		lines[report](t, b)
	})
}

// A deadline never moves back, and never to where no order has put it.
func FuzzDeadlines(f *testing.F) {
	f.Add([]byte(`{"do":"deadline","deadline":5}`))
	f.Add([]byte("{\"do\":\"deadline\",\"deadline\":9000000000000000000}\n{\"do\":\"deadline\",\"deadline\":8}"))
	f.Add([]byte(`{"do":"deadline","deadline":-9223372036854775808}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		timer, err := bootclock.System.NewTimer()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = timer.Close() }()
		began := bootclock.Now().Add(time.Hour)
		s := &server{death: theDeathTimer(t), timer: timer, deadline: began}
		defer func() { _ = s.death.disarm() }()
		latest := began
		orders, _ := received[order](b)
		for _, o := range orders {
			if o.Do != doDeadline || o.Deadline > math.MaxInt64-bootclock.Instant(selfKillSlack) { // which ends this process
				continue
			}
			s.extend(o.Deadline)
			if latest = max(latest, o.Deadline); s.deadline != latest {
				t.Fatalf("%q: the deadline is %d, want %d", b, s.deadline, latest)
			}
		}
	})
}

var oneDeathTimer *deathTimer

// theDeathTimer is one for all: a process has a limited number of them.
func theDeathTimer(t *testing.T) *deathTimer {
	t.Helper()
	if oneDeathTimer == nil {
		var err error
		if oneDeathTimer, err = newDeathTimer(); err != nil {
			t.Fatal(err)
		}
	}
	return oneDeathTimer
}

// Noise on the pipe is the end of the supervisor: the tree dies at once.
func TestNoiseKillsTheTree(t *testing.T) {
	for _, noise := range []string{"\n", "{}\n", "\x00\x00\n", `{"do":"deadline"` + "\n", "{\"do\":\"later\"}\n", strings.Repeat("x", maxMessage)} {
		argv, pids := tree(t)
		g := start(t, argv)
		done := background(t.Context(), g, lasting(time.Hour))
		found := pids()
		raw, err := g.control.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if werr := raw.Write(func(fd uintptr) bool { _, err = writeFD(int(fd), []byte(noise)); return true }); werr != nil || err != nil {
			t.Fatal(werr, err)
		}
		if res := <-done; res.Cause != Killed && res.Cause != GuardDied {
			t.Errorf("%.20q: result %+v", noise, res)
		}
		mustBeDead(t, found)
	}
}

// What a process calls itself changes nothing of what is read of it.
func FuzzStat(f *testing.F) {
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(self, "sh", uint8('S'), 1, 2, uint64(3))
	f.Add([]byte(") R"), ") Z 1 1 1", uint8('R'), 4194304, 1, uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, raw []byte, name string, state uint8, parent, group int, start uint64) {
		_, _ = parseStat(1, raw)
		if state <= ' ' || state > '~' || state == ')' {
			return
		}
		fields := slices.Repeat([]string{"0"}, 15)
		line := fmt.Sprintf("7 (%s) %c %d %d %s %d 0 0\n", name, state, parent, group, strings.Join(append(fields, "-1"), " "), start)
		got, err := parseStat(7, []byte(line))
		if want := (process{pid: 7, parent: parent, group: group, start: start, state: state}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", line, got, err, want)
		}
	})
}
