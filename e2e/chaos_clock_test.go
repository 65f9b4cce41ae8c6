//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The wall's clock is stepped without touching the machine's: one place runs a
// leaderrun whose time.Now is another. It is the same source, built with an overlay
// (go build -overlay) over the standard library's package time that adds to the
// seconds of the wall's time, and to nothing else, what clockEnv says: at this time
// of CLOCK_MONOTONIC, so many seconds. What the kernel's own timers and clocks do
// when the wall's clock is stepped, this does not show.
const (
	clockEnv    = "LEADERRUN_TEST_CLOCK"
	wallStepped = "wall clock stepped by hours"
)

const steppedNow = `package time

import "syscall"

var clockSteps = parseClockSteps()

func parseClockSteps() (steps [][2]int64) {
	s, _ := syscall.Getenv("` + clockEnv + `")
	var field, sign int64
	sign = 1
	var step [2]int64
	at := 0
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b == '-':
			sign = -1
		case b >= '0' && b <= '9':
			field = field*10 + int64(b-'0')
		default: // ":" ends the time, "," the seconds
			step[at] = sign * field
			if at = 1 - at; at == 0 {
				steps = append(steps, step)
			}
			field, sign = 0, 1
		}
	}
	return steps
}

func stepped(mono int64) (seconds int64) {
	for _, step := range clockSteps {
		if step[0] > mono {
			break
		}
		seconds = step[1]
	}
	return seconds
}
`

// jumpyBin builds it once.
func jumpyBin(t testing.TB) string {
	t.Helper()
	bin, err := buildJumpy()
	must(t, err)
	return bin
}

var buildJumpy = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	std := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		return "", err
	}
	// The one in Now, of several: the first after its heading.
	const reads = "sec, nsec, mono := runtimeNow()\n"
	head, now, found := strings.Cut(string(source), "\nfunc Now() Time {\n")
	if !found || !strings.Contains(now[:200], reads) {
		return "", fmt.Errorf("step the wall's clock: time.Now of this Go is not the one that is known")
	}
	dir := filepath.Dir(leaderrunBin)
	patched := head + "\nfunc Now() Time {\n" + strings.Replace(now, reads, reads+"\tsec += stepped(mono)\n", 1)
	replace := map[string]string{}
	for name, text := range map[string]string{"time.go": patched, "stepped.go": steppedNow} {
		file := filepath.Join(dir, "jumpy-"+name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(std, name)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "leaderrun-jumpy")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, "leaderrun")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a leaderrun whose clock is stepped: %w\n%s", err, out)
	}
	return bin, nil
})

// A clockStep is one step of the wall's clock of one candidate.
type clockStep struct {
	at      instant
	seconds int64 // off from then on
}

// clockSteps draws them for the nth candidate of the jumpy place, from a second on,
// for some ten minutes; after these the clock is as it is.
func (c *chaos) clockSteps(n int) (steps []clockStep) {
	r := c.plan.rand("clock", n)
	at := now().add(time.Second)
	for range 120 {
		const day = 24 * 60 * 60
		steps = append(steps, clockStep{at, r.Int64N(2*day) - day})
		at = at.add(time.Second + time.Duration(r.Int64N(int64(8*time.Second))))
	}
	return steps
}

func inEnvironment(steps []clockStep) string {
	var mono unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono); err != nil {
		panic(err)
	}
	asleep := int64(now()) - mono.Nano()
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%d:%d,", int64(s.at)-asleep, s.seconds)
	}
	return b.String()
}

// The instrument itself: the log of that leaderrun is hours off, and its child lives.
func TestWallClockStepped(t *testing.T) {
	e := newElection(t, fileStore(t))
	steps := []clockStep{{now().add(300 * time.Millisecond), 7 * 60 * 60}, {now().add(3 * time.Second), -5 * 60 * 60}}
	a := e.start(spec{
		id: "a", ttl: 4 * time.Second, flags: littleGrace, bin: jumpyBin(t), command: e.tame(),
		env: []string{clockEnv + "=" + inEnvironment(steps)},
	})
	first := e.leads(a, nil)
	e.goesOn(first, 5*time.Second)
	a.signal(t, unix.SIGTERM)
	a.exits(t, 128+int(unix.SIGTERM), patient)
	said, err := time.Parse(time.RFC3339Nano, a.says(t, exiting, 1, patient).get("time"))
	must(t, err)
	if off := time.Until(said).Round(time.Minute); off != -5*time.Hour {
		t.Errorf("the log is %v off, want five hours in the past", off)
	}
}
