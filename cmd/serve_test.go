//go:build unix

package cmd

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/supervisor"
)

// ask returns the status of a path after these events.
func ask(t *testing.T, p *pulse, method, path string, events ...supervisor.Event) (int, string) {
	t.Helper()
	o := &options{name: "n", id: "i"}
	m := newMetrics(o, lock.URL{Scheme: "file"}, func() int64 { return 0 })
	for _, e := range events {
		m.tell(e)
	}
	w := httptest.NewRecorder()
	routes(m, p).ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

// /leader is true only while the command runs and may go on, whatever the order in which
// goroutines tell of its end and its start.
func TestLeader(t *testing.T) {
	soon, past := bootclock.Now().Add(time.Minute), bootclock.Now().Add(-time.Second)
	elected := supervisor.Event{Kind: supervisor.Elected, Token: 7, Until: soon}
	kind := func(k supervisor.Kind) supervisor.Event { return supervisor.Event{Kind: k, Token: 7, Until: soon} }
	started, stopped := kind(supervisor.ChildStarted), kind(supervisor.ChildStopped)
	for name, c := range map[string]struct {
		events []supervisor.Event
		serves bool
	}{
		"nothing":                {nil, false},
		"standing by":            {[]supervisor.Event{kind(supervisor.StandingBy), kind(supervisor.Renewed)}, false},
		"elected":                {[]supervisor.Event{elected}, false},
		"started":                {[]supervisor.Event{elected, started}, true},
		"renewed":                {[]supervisor.Event{elected, started, kind(supervisor.Renewed)}, true},
		"stopped":                {[]supervisor.Event{elected, started, stopped}, false},
		"started again":          {[]supervisor.Event{elected, started, stopped, started}, true},
		"stopping":               {[]supervisor.Event{elected, started, kind(supervisor.ChildStopping)}, false},
		"giving up":              {[]supervisor.Event{elected, started, kind(supervisor.GivingUp)}, false},
		"lost":                   {[]supervisor.Event{elected, started, kind(supervisor.Lost)}, false},
		"lost, and told started": {[]supervisor.Event{elected, kind(supervisor.Lost), started}, false},
		"expired":                {[]supervisor.Event{elected, started, {Kind: supervisor.Renewed, Until: past}}, false},
		"released":               {[]supervisor.Event{elected, started, stopped, kind(supervisor.Released)}, false},
		"not released":           {[]supervisor.Event{elected, started, kind(supervisor.NotReleased)}, false},
		"elected again": {[]supervisor.Event{
			elected, started, kind(supervisor.Lost), stopped, kind(supervisor.Released), elected, started,
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := ask(t, newPulse(), http.MethodGet, "/leader", c.events...)
			if want := map[bool]int{true: 200, false: 503}[c.serves]; status != want || strings.Count(body, "\n") != 1 {
				t.Errorf("answers %d %q, want %d and a line", status, body, want)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		method, path string
		pulse        *pulse
		status       int
	}{
		{http.MethodGet, "/healthz", newPulse(), 200},
		{http.MethodGet, "/healthz", &pulse{}, 503}, // has never beaten
		{http.MethodHead, "/healthz", newPulse(), 200},
		{http.MethodHead, "/leader", newPulse(), 503},
		{http.MethodGet, "/metrics", newPulse(), 200},
		{http.MethodPost, "/leader", newPulse(), 405},
		{http.MethodGet, "/", newPulse(), 404},
		{http.MethodGet, "/metrics/x", newPulse(), 404},
	} {
		if status, _ := ask(t, c.pulse, c.method, c.path); status != c.status {
			t.Errorf("%s %s answers %d, want %d", c.method, c.path, status, c.status)
		}
	}
}

// What the ticks of a schedule leave: how many, when the last was due, and what a
// tenure knows of the one before.
func TestTickMetrics(t *testing.T) {
	const due = "2026-11-26T10:00:00Z"
	for _, c := range []struct {
		event supervisor.Event
		lines []string
	}{
		{supervisor.Event{Kind: supervisor.TickKnown, Tick: due}, []string{"leaderrun_tick_started_due_timestamp_seconds{} 1795687200"}},
		{supervisor.Event{Kind: supervisor.TickBegan, Tick: due}, []string{
			`leaderrun_ticks_total{,state="started"} 1`, "leaderrun_tick_started_due_timestamp_seconds{} 1795687200",
		}},
		{supervisor.Event{Kind: supervisor.TickEnded, Tick: due, State: supervisor.StateFinished}, []string{
			`leaderrun_ticks_total{,state="finished"} 1`, "leaderrun_tick_finished_due_timestamp_seconds{} 1795687200",
		}},
		{supervisor.Event{Kind: supervisor.TickEnded, Tick: due, State: supervisor.StateFailed}, []string{`leaderrun_ticks_total{,state="failed"} 1`}},
		{supervisor.Event{Kind: supervisor.TickSkipped, Tick: due}, []string{`leaderrun_ticks_total{,state="skipped"} 1`}},
		{supervisor.Event{Kind: supervisor.TickBegan, Tick: "a key"}, []string{`leaderrun_ticks_total{,state="started"} 1`}},
	} {
		_, text := ask(t, newPulse(), http.MethodGet, "/metrics", c.event)
		text = strings.ReplaceAll(text, `election="n",candidate="i",store="file:"`, "")
		for _, line := range c.lines {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("after %+v no %s", c.event, line)
			}
		}
		if key := c.event.Tick == "a key"; key && strings.Contains(text, "due_timestamp") {
			t.Error("a key was due")
		}
	}
}
