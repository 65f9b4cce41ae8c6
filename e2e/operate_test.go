//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// An answer is what a command said that takes part in no election.
type answer struct {
	status   int
	out, err string
}

// ask runs such a command about the election, in the environment of a job or none.
func (e *election) ask(env []string, args ...string) answer {
	e.t.Helper()
	cmd := exec.Command(leaderrunBin, args...)
	var out, errout bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append(cleanEnv(), env...), &out, &errout
	_ = cmd.Run() // the state says it all
	a := answer{cmd.ProcessState.ExitCode(), out.String(), errout.String()}
	e.t.Logf("leaderrun %s: %+v", strings.Join(args, " "), a)
	return a
}

// about is ask with the flags of the election.
func (e *election) about(command string, args ...string) answer {
	e.t.Helper()
	return e.ask(nil, slices.Concat([]string{command, "--store", e.store.url, "--name", e.name}, e.store.flags, args)...)
}

// says asserts what was answered; the text is a regular expression.
func (a answer) says(t testing.TB, status int, text string) {
	t.Helper()
	if a.status != status || !regexp.MustCompile(text).MatchString(a.out+a.err) {
		t.Errorf("status %d, %q, %q; want %d and %q", a.status, a.out, a.err, status, text)
	}
}

// A statusShown is what `leaderrun status --json` says.
type statusShown struct {
	Elections []struct {
		Name   string
		Leader *struct {
			ID, Host string
			PID      int
			Token    uint64
			Since    time.Time
		}
		Standbys []struct {
			ID, Host string
			PID      int
			Since    time.Time
		}
		Ticks, Keys []struct{ Tick, State string }
	}
}

func (a answer) shown(t testing.TB) (s statusShown) {
	t.Helper()
	must(t, json.Unmarshal([]byte(a.out), &s))
	return s
}

// shows waits until status has this leader and these standbys, in their order but
// for the file store, which does not know it for sure.
func (e *election) shows(leader *candidate, token uint64, standbys ...*candidate) {
	e.t.Helper()
	host, err := os.Hostname()
	must(e.t, err)
	line := func(id, host string, pid int) string { return fmt.Sprint(id, " ", host, " ", pid) }
	var want []string
	for _, c := range standbys {
		want = append(want, line(c.id, host, c.pid))
	}
	var a answer
	waitFor(e.t, "status to show who leads", patient, func() bool {
		a = e.about("status", "--json")
		s := a.shown(e.t)
		if a.status != 0 || len(s.Elections) != 1 || s.Elections[0].Leader == nil {
			return false
		}
		l := s.Elections[0].Leader
		var got []string
		for _, b := range s.Elections[0].Standbys {
			got = append(got, line(b.ID, b.Host, b.PID))
		}
		return line(l.ID, l.Host, l.PID) == line(leader.id, host, leader.pid) && l.Token == token && time.Since(l.Since) < time.Minute &&
			slices.Equal(got, want)
	})
}

// cluster is a store of three nodes, or a directory, and the URL of one who can be
// cut off from it.
func (k *kind) cluster(t *testing.T) (s *store, url string, cut, heal func()) {
	t.Helper()
	if k == fileKind {
		s = fileStore(t)
		return s, s.url, nil, nil
	}
	s = own(t, k, serverOptions{nodes: 3})
	var proxies []*servers.Proxy
	var addrs []string
	for _, endpoint := range s.Endpoints() {
		p := servers.NewProxy(t, endpoint)
		proxies, addrs = append(proxies, p), append(addrs, p.Addr())
	}
	each := func(do func(*servers.Proxy)) func() {
		return func() {
			for _, p := range proxies {
				do(p)
			}
		}
	}
	return s, s.at(addrs...), each((*servers.Proxy).Hold), each((*servers.Proxy).Resume)
}

// Status, step-down and verify, against clusters of three nodes, with a leader that
// is busy, frozen and cut off.
func TestOperate(t *testing.T) {
	t.Parallel()
	for _, k := range append([]*kind{fileKind}, networkKinds...) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s, url, cut, heal := k.cluster(t)
			e := newElection(t, s)
			// A command that keeps a processor busy, and takes its time to stop.
			busy := []string{"/bin/sh", "-c", `trap 'sleep 0.3; kill -9 $!; exit 0' TERM; "$@" & while wait $!; [ $? -gt 128 ] && kill -0 $! 2>/dev/null; do :; done`, "busy"}
			busy = append(busy, e.child("--burn")...)
			a := e.start(spec{id: "a1", store: url, command: busy})
			first := e.leads(a, nil)
			e.about("step-down").says(t, 1, "nobody stands by")
			e.shows(a, first.token)
			b := e.start(spec{id: "b1", command: e.tame()})
			e.shows(a, first.token, b)
			c := e.start(spec{id: "c1", store: url, command: e.tame()})
			e.shows(a, first.token, b, c)
			e.about("status").says(t, 0, `(?m)^`+e.name+` +a1 .* `+strconv.FormatUint(first.token, 10)+` +b1, c1$`)
			e.ask(nil, append([]string{"status", "--store", s.url}, s.flags...)...).says(t, 0, `(?m)^`+e.name+` +a1 `)
			e.about("status", "--name", "nobodys").says(t, 1, `(?m)^nobodys +nobody `)
			e.about("verify", "--fencing-token", strconv.FormatUint(first.token, 10)).says(t, 0, `^$`)
			e.about("verify", "--fencing-token", strconv.FormatUint(first.token+1, 10)).says(t, 1, `a1 leads`)

			e.about("step-down", "--to", "x").says(t, 1, `nobody whose id begins with x .* b1, c1`)
			e.about("step-down", "--to", "a").says(t, 0, `a1 leads `+e.name+` already`)
			e.goesOn(first, 300*time.Millisecond)

			// b stands before c.
			e.about("step-down", "--to", "c").says(t, 0, `^c1 leads `+e.name)
			second := e.leads(c, first)
			e.handedOver(first, second, prompt)
			e.about("verify", "--fencing-token", strconv.FormatUint(first.token, 10)).says(t, 1, `c1 leads .* token `+strconv.FormatUint(second.token, 10))
			a.says(t, "standing back", 1, patient)

			freeze(t, c.pid)
			e.shows(c, second.token, b)
			e.about("step-down").says(t, 1, `c1 does not answer`)
			kill(t, unix.SIGCONT, c.pid)
			e.goesOn(second, time.Second) // what it hears of now nobody waits for

			if cut != nil {
				cut()
				e.about("step-down").says(t, 1, `c1 does not answer`)
				e.about("verify", "--fencing-token", strconv.FormatUint(second.token, 10)).says(t, 0, `^$`)
				heal()
				e.goesOn(second, time.Second)
			}
			e.about("step-down").says(t, 0, `^b1 leads `+e.name)
			e.handedOver(second, e.leads(b, second), prompt)
			e.childGot(second, "SIGCONT", "SIGTERM")
		})
	}
}

// verifier is a job that asks all the time whether its tenure leads, and notes each
// status and answer.
const verifier = `dir=$1; shift
"$@" &
while :; do
	left=$("$LEADERRUN" verify 2>>"$dir/why"); echo "$LEADERRUN_FENCING_TOKEN $? $left" >>"$dir/verified"
	sleep 0.1
done`

// A job knows for how long it may go on: what verify prints falls while renewals fail,
// and is never more than the guard's own time.
func TestVerify(t *testing.T) {
	t.Parallel()
	for _, k := range append([]*kind{fileKind}, networkKinds...) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s, url, cut, _ := k.cluster(t)
			e := newElection(t, s)
			ttl := k.lease(4 * time.Second)
			job := append([]string{"/bin/sh", "-c", verifier, "verifier", e.dir}, e.child("--ignore-term")...)
			a := e.start(spec{id: "a", ttl: ttl, store: url, command: job, env: []string{"LEADERRUN=" + leaderrunBin}})
			first := e.leads(a, nil)
			b := e.start(spec{id: "b", ttl: ttl})
			b.standsBehind(t, "a", patient)
			e.verified(first.token, 0, 3)
			if cut != nil {
				cut()
			} else {
				freeze(t, a.pid)
			}
			second := e.leads(b, first)
			e.handedOver(first, second, patient)
			last := ""
			var least time.Duration
			for _, v := range e.verifications() {
				if v.token == first.token && v.status == 0 && v.left > 0 {
					least = v.left
				}
				last = fmt.Sprint(last, " ", v.status)
			}
			// With the last answer before its death little time was left.
			if cut == nil && (least <= 0 || least > ttl/2) {
				t.Errorf("the last time left was %v of a lease of %v: %s", least, ttl, last)
			}
			for _, v := range e.verifications() {
				if v.status == 0 && (v.left <= 0 || v.left > ttl) {
					t.Errorf("%v left of a lease of %v", v.left, ttl)
				}
			}
		})
	}
}

// A verification is a line of the verifier.
type verification struct {
	token  uint64
	status int
	left   time.Duration
}

func (e *election) verifications() (all []verification) {
	for line := range strings.Lines(readFile(filepath.Join(e.dir, "verified"))) {
		var v verification
		var left float64
		if n, _ := fmt.Sscan(line, &v.token, &v.status, &left); n >= 2 {
			v.left = time.Duration(left * float64(time.Second))
			all = append(all, v)
		}
	}
	return all
}

// verified waits for so many answers with that status.
func (e *election) verified(token uint64, status, times int) {
	e.t.Helper()
	waitFor(e.t, fmt.Sprintf("%d answers with status %d", times, status), patient, func() bool {
		n := 0
		for _, v := range e.verifications() {
			if v.token == token && v.status == status {
				n++
			}
		}
		return n >= times
	})
}
