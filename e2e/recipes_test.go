//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The recipes of README.md and docs/, as they are written there but for the names of hosts, on
// three hosts: network namespaces.
func TestRecipes(t *testing.T) {
	t.Parallel()
	hosts := newRecipeHosts(t, 3)
	for _, c := range []struct {
		name string
		run  func(hosts recipeHosts)
	}{
		{"crontab", recipeCrontab},
		{"clock", recipeClock},
		{"export", recipeExport},
		{"migration", recipeMigration},
		{"address", recipeAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(recipeHosts{t, hosts.nets, hosts.etcd})
		})
	}
}

// Debian's cron on three hosts with the same line: each minute's job runs once, and
// nobody gets mail.
func recipeCrontab(hosts recipeHosts) {
	t := hosts.t
	if _, err := exec.LookPath("cron"); err != nil {
		without(t, "cron", err)
	}
	const minutes = 2
	r := hosts.newRecipe(map[string]string{
		"report": "#!/bin/sh\necho $(date -ud $LEADERRUN_TICK +%FT%TZ) $LEADERRUN_ATTEMPT >>/srv/report\n",
		// What cron calls tells how it ended and what it said.
		"leaderrun": "#!/bin/sh\nsaid=$(" + leaderrunBin + ` "$@" 2>&1) && status=0 || status=$?
echo "$HOST $status $said" >>/srv/calls
exit $status
`,
	})
	line := r.text("A cron job, in the crontab of every host; each minute one of them runs it:")
	must(t, os.WriteFile(filepath.Join(r.dir, "crontab"), []byte(line+"\n"), 0o600))
	if s := time.Now().Second(); s > 50 { // not all would be there at the next minute
		pass(time.Duration(60-s) * time.Second)
	}
	for _, h := range r.hosts {
		r.start(h, nil, `
			for own in /run /etc/cron.d /var/spool/cron; do mount -t tmpfs tmpfs $own; done
			touch /run/crontab; mount --bind /run/crontab /etc/crontab
			mkdir /var/spool/cron/crontabs
			install -m 600 /srv/crontab /var/spool/cron/crontabs/root
			exec cron -f`, "--pid", "--fork", "--kill-child", "--mount-proc")
	}
	last := time.Now().Truncate(time.Minute).Add(minutes * time.Minute)
	waitFor(t, fmt.Sprintf("%d full minutes", minutes), (minutes+1)*time.Minute+patient, func() bool {
		return len(r.lines("calls")) >= minutes*len(r.hosts)
	})
	if now := time.Now(); now.Before(last) {
		t.Errorf("%v before the last minute every call was over", last.Sub(now))
	}
	var ticks []string
	for i := range minutes {
		ticks = append(ticks, last.Add(time.Duration(i+1-minutes)*time.Minute).UTC().Format(time.RFC3339)+" 1")
	}
	if got := r.lines("report"); !slices.Equal(got, ticks) {
		t.Errorf("the job ran for %q, want %q", got, ticks)
	}
	calls := r.lines("calls")
	for _, h := range r.hosts {
		if n := len(slices.DeleteFunc(slices.Clone(calls), func(s string) bool { return s != h.name+" 0 " })); n != minutes {
			t.Errorf("%s: %d quiet calls with status 0, want %d: %q", h.name, n, minutes, calls)
		}
	}
}

// A leader that stops and one that is killed: the ticks keep their grid, each runs
// once, and the one that was killed half-way twice.
func recipeClock(hosts recipeHosts) {
	t := hosts.t
	r := hosts.newRecipe(map[string]string{"tick": `#!/bin/sh
		echo "$LEADERRUN_TICK $LEADERRUN_ATTEMPT $HOST" >>/srv/ticks
		until [ ! -e /srv/hold ]; do sleep 0.1; done
		echo "$LEADERRUN_TICK" >>/srv/done
	`})
	line := r.text("keeps the grid, and runs no tick a second time that was finished:")
	of := map[string]*candidate{}
	for _, h := range r.hosts[:2] {
		of[h.name] = r.run(h, line)
	}
	leader := func(n int) (host string) {
		t.Helper()
		waitFor(t, fmt.Sprintf("%d ticks", n), patient, func() bool { return len(r.lines("ticks")) >= n })
		return strings.Fields(r.lines("ticks")[n-1])[2]
	}
	hold := filepath.Join(r.dir, "hold")

	// Killed in mid-tick.
	leader(2)
	must(t, os.WriteFile(hold, nil, 0o600))
	held := len(r.lines("ticks")) + 1
	first := leader(held)
	of[first].signal(t, unix.SIGKILL)
	must(t, os.Remove(hold))
	second := leader(held + 1)
	if first == second {
		t.Fatalf("%s leads on", first)
	}
	// Stopped between two.
	third := r.run(r.host(first), line)
	leader(held + 2)
	waitFor(t, "the tick to end", patient, func() bool { return len(r.lines("done")) == len(r.lines("ticks"))-1 })
	pass(500 * time.Millisecond)
	of[second].signal(t, unix.SIGTERM)
	of[second].exits(t, 128+15, prompt)
	if again := leader(held + 3); again != first {
		t.Errorf("%s leads after %s has stopped", again, second)
	}
	leader(held + 4)
	third.signal(t, unix.SIGTERM)
	waitFor(t, "the end", patient, third.ended)

	attempts := map[string]int{}
	var before time.Time
	for i, l := range r.lines("ticks") {
		name := strings.Fields(l)[0]
		attempts[name]++
		at, err := time.Parse(time.RFC3339, name)
		must(t, err)
		if at.Unix()%3 != 0 {
			t.Errorf("%s is not on the grid", name)
		}
		if again := i == held; at.Before(before) || at.Equal(before) != again {
			t.Errorf("tick %s after %s", at, before)
		}
		before = at
	}
	t.Logf("ticks: %q", r.lines("ticks"))
	if got := strings.Fields(r.lines("ticks")[held])[1]; got != "2" {
		t.Errorf("the interrupted tick was run again as attempt %s", got)
	}
	of[second].quiet(t)
}

// The host that exports is killed half-way: the other one does it again, and what
// appears is whole. Who calls later finds it done.
func recipeExport(hosts recipeHosts) {
	t := hosts.t
	r := hosts.newRecipe(map[string]string{"make-export": `#!/bin/sh
		echo "$LEADERRUN_ATTEMPT $HOST" >>/srv/runs
		echo "first half of $1 by $HOST"
		until [ -e /srv/go ]; do sleep 0.1; done
		echo "second half of $1 by $HOST"
	`})
	line := entry(r.text("A nightly export, in the crontab of each host:"))
	a := r.run(r.hosts[0], line)
	waitFor(t, "the export to begin", patient, func() bool { return len(r.lines("runs")) == 1 })
	b := r.run(r.hosts[1], line)
	staysTrue(t, "the second host waits", 2*time.Second, func() bool { return len(r.lines("runs")) == 1 && !b.ended() })
	a.signal(t, unix.SIGKILL)
	waitFor(t, "the second host to export", patient, func() bool { return len(r.lines("runs")) == 2 })
	whole := func() []string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(r.dir, "export", "*.csv"))
		must(t, err)
		return files
	}
	if files := whole(); len(files) != 0 {
		t.Errorf("half an export: %v", files)
	}
	must(t, os.WriteFile(filepath.Join(r.dir, "go"), nil, 0o600))
	b.exits(t, 0, patient)
	b.quiet(t)
	c := r.run(r.hosts[2], line)
	c.exits(t, 0, patient)
	c.quiet(t)
	if got := r.lines("runs"); !slices.Equal(got, []string{"1 host1", "2 host2"}) {
		t.Errorf("runs: %q", got)
	}
	files := whole()
	if len(files) != 1 {
		t.Fatalf("exports: %v", files)
	}
	day := strings.TrimSuffix(filepath.Base(files[0]), ".csv")
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		t.Error(err)
	}
	if got, want := readFile(files[0]), fmt.Sprintf("first half of %[1]s by host2\nsecond half of %[1]s by host2\n", day); got != want {
		t.Errorf("exported %q, want %q", got, want)
	}
}

// Three hosts deploy at once: one migrates, then all go on; a migration that fails is
// tried twice, and nobody goes on.
func recipeMigration(hosts recipeHosts) {
	t := hosts.t
	r := hosts.newRecipe(map[string]string{
		"migrate": "#!/bin/sh\necho $RELEASE $LEADERRUN_ATTEMPT >>/srv/migrated; sleep 1; test $RELEASE != 2.0\n",
		"billing": "#!/bin/sh\necho $RELEASE after $(grep -c . /srv/migrated) >>/srv/billing\n",
	})
	line := r.text("A migration, at the start of a release, on all hosts at once:")
	deploy := func(release string, status int) {
		t.Helper()
		var all []*candidate
		for _, h := range r.hosts {
			all = append(all, r.start(h, []string{"RELEASE=" + release}, line))
		}
		for _, c := range all {
			c.exits(t, status, 2*patient)
			if status == 0 {
				c.quiet(t)
			}
		}
	}
	deploy("1.9", 0)
	deploy("1.9", 0) // again
	deploy("2.0", 1)
	if got, want := r.lines("migrated"), []string{"1.9 1", "2.0 1", "2.0 2"}; !slices.Equal(got, want) {
		t.Errorf("migrated %q, want %q", got, want)
	}
	if got := r.lines("billing"); len(got) != 6 || len(slices.Compact(got)) != 1 || got[0] != "1.9 after 1" {
		t.Errorf("went on: %q", got)
	}
}

// host returns a host by its name.
func (r *recipe) host(name string) *recipeHost {
	return r.hosts[slices.IndexFunc(r.hosts, func(h *recipeHost) bool { return h.name == name })]
}

// The table in docs/flags.md has every flag.
func TestFlagsAreTold(t *testing.T) {
	help, err := exec.Command(leaderrunBin, "help", "flags").Output()
	must(t, err)
	_, flags, _ := strings.Cut(documents(t), "| flag | default | meaning |")
	flags, _, _ = strings.Cut(flags, "\n\n")
	for _, flag := range regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z-]+)`).FindAllSubmatch(help, -1) {
		if name := string(flag[1]); name != "--help" && name != "--version" && !regexp.MustCompile("`"+name+"[ `]").MatchString(flags) {
			t.Errorf("docs/flags.md does not tell of %s", name)
		}
	}
}
