//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leaderrun/scripts/servers"
)

// promtool runs Prometheus' own checker.
func promtool(t *testing.T, input io.Reader, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), debian(t, "promtool", "prometheus"), args...)
	cmd.Stdin = input
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "no help text") {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

// debian finds a program of a Debian package that tests may require.
func debian(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + program); err != nil {
			without(t, pkg, fmt.Errorf("%w: install Debian's %s", err, pkg))
		}
	}
	return path
}

func deployed(t testing.TB, name string) string {
	t.Helper()
	root, err := servers.Root()
	must(t, err)
	return filepath.Join(root, "deploy", name)
}

// The alert rules are well formed, and each fires when it should and not else, as
// deploy/alerts_test.yaml tells.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	promtool(t, nil, "check", "rules", deployed(t, "alerts.yaml"))
	promtool(t, nil, "test", "rules", deployed(t, "alerts_test.yaml"))
}

// server starts another program's server, which ends with the test; it is ready once it
// answers.
func (e *election) server(id, answers string, argv ...string) *candidate {
	e.t.Helper()
	c := e.start(spec{id: id, via: func(string, ...string) *exec.Cmd { return exec.Command(argv[0], argv[1:]...) }})
	waitFor(e.t, id+" to answer", patient, func() bool {
		if c.ended() {
			e.t.Fatalf("%s ended with %d", id, c.status)
		}
		status, _ := get(answers, "/")
		return status != 0
	})
	return c
}

// Prometheus scrapes two candidates of a schedule. As long as all is well no alert is
// on. A leader is frozen, a tick comes up, and nobody runs it: the shipped rule fires,
// with a shorter patience, and is quiet again once the other has run one.
func TestMissedTickAlerts(t *testing.T) {
	t.Parallel()
	const period, ttl = 3 * time.Second, 8 * time.Second
	bin := debian(t, "prometheus", "prometheus")
	e := newJobs(t, fileStore(t))
	e.ends("0")
	start := func(id string) *candidate {
		return e.start(spec{
			id: id, ttl: ttl, command: e.job(), flags: append([]string{"--schedule", period.String()}, listening...),
		})
	}
	a := start("a")
	e.run(1)
	b := start("b")
	rules, err := os.ReadFile(deployed(t, "alerts.yaml"))
	must(t, err)
	quick := strings.ReplaceAll(string(rules), "for: 30s", "for: 1s")
	if quick == string(rules) {
		t.Fatal("the rule of the missed tick does not wait 30 s any more")
	}
	e.put("alerts.yaml", quick)
	e.put("prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms}
rule_files: [alerts.yaml]
scrape_configs: [{job_name: leaderrun, static_configs: [{targets: [%q, %q]}]}]
`, a.address(t), b.address(t)))
	address := freeAddress(t)
	e.server("prometheus", address, bin, "--config.file="+filepath.Join(e.dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(e.dir, "tsdb"), "--web.listen-address="+address)

	fires := func() bool { return slices.Contains(alerts(t, address), "LeaderrunTickMissed firing "+e.name) }
	waitFor(t, "the metrics to be scraped", patient, func() bool { return scraped(t, address, "leaderrun_tick_due_timestamp_seconds") == 2 })
	staysTrue(t, "no alert while all is well", 2*period, func() bool { return !fires() })
	freeze(t, a.pid)
	waitFor(t, "the alert", patient, fires)
	before := len(e.jobStarts())
	e.run(before + 1)
	waitFor(t, "the alert's end", patient, func() bool { return !fires() })
	if r := e.jobStarts()[before]; r.candidate != "b" {
		t.Errorf("the alert was on, and then %s ran a tick", r.candidate)
	}
	kill(t, unix.SIGCONT, a.pid)
}

// alerts lists those of a Prometheus, as "NAME STATE ELECTION".
func alerts(t testing.TB, address string) (all []string) {
	t.Helper()
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	query(t, address, "/api/v1/alerts", &answer)
	for _, a := range answer.Data.Alerts {
		all = append(all, a.Labels["alertname"]+" "+a.State+" "+a.Labels["election"])
	}
	return all
}

// scraped is how many series of that name there are now.
func scraped(t testing.TB, address, name string) int {
	t.Helper()
	var answer struct{ Data struct{ Result []any } }
	query(t, address, "/api/v1/query?query="+name, &answer)
	return len(answer.Data.Result)
}

func query(t testing.TB, address, path string, answer any) {
	t.Helper()
	status, body := get(address, path)
	if status == http.StatusServiceUnavailable { // still starting
		return
	}
	if err := json.Unmarshal([]byte(body), answer); status != http.StatusOK || err != nil {
		t.Fatalf("%s: %d %s: %v", path, status, body, err)
	}
}
