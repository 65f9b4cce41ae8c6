//go:build unix

package cmd

import (
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
	"leaderrun/supervisor"
	"leaderrun/supervisor/schedule"
)

// metrics are what the events have told since the start, for /metrics. An event
// changes atomics and waits for nobody.
type metrics struct {
	standing
	labels   string
	lease    atomic.Int64       // time.Duration to the deadline right after a renewal; 0 for not known
	schedule *schedule.Schedule // of --schedule; nil for none
	dropped  func() int64       // log lines

	takeovers, tenures, ticks tallies
	lost, gaveUp              atomic.Bool // the tenure, so far
	renewals                  [len(renewalBounds) + 1]atomic.Uint64
	renewing                  atomic.Int64 // nanoseconds in all
	failures                  atomic.Uint64
	starts, restarts          atomic.Uint64
	exits                     [256]atomic.Uint64

	startedDue, finishedDue, finished atomic.Int64 // Unix nanoseconds of ticks; 0 for none
}

// tallies count by name. No name is added later, so that nobody has to lock them.
type tallies map[string]*atomic.Uint64

func newTallies(names ...string) tallies {
	t := tallies{}
	for _, name := range names {
		t[name] = new(atomic.Uint64)
	}
	return t
}

// add counts; a word that is not known must not end the supervisor.
func (t tallies) add(name string) {
	if n := t[name]; n != nil {
		n.Add(1)
	}
}

// How a tenure ends, as a label.
const (
	tenureReleased = "released"
	tenureLost     = "lost"
	tenureGivenUp  = "gave up"
)

// renewalBounds are the upper bounds of the histogram's buckets, in seconds.
var renewalBounds = [...]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

func newMetrics(o *options, store lock.URL, dropped func() int64) *metrics {
	m := &metrics{
		dropped:   dropped,
		takeovers: newTallies(supervisor.TakeoverFirst, supervisor.TakeoverReleased, supervisor.TakeoverHandedOver, supervisor.TakeoverVanished),
		tenures:   newTallies(tenureReleased, tenureLost, tenureGivenUp),
		ticks: newTallies(string(supervisor.StateStarted), string(supervisor.StateFinished), string(supervisor.StateFailed),
			string(supervisor.StateInterrupted), string(supervisor.StateSkipped)),
	}
	m.labels = "election=" + quoted(o.name) + ",candidate=" + quoted(o.id) + ",store=" + quoted(store.String())
	for _, key := range slices.Sorted(maps.Keys(o.labels)) {
		m.labels += "," + key + "=" + quoted(o.labels[key])
	}
	if o.schedule != "" {
		m.schedule = o.due
	}
	return m
}

func (m *metrics) tell(e supervisor.Event) {
	switch e.Kind {
	case supervisor.Elected:
		m.takeovers.add(e.Cause)
		m.lost.Store(false)
		m.gaveUp.Store(false)
	case supervisor.Lost:
		m.lost.Store(true)
	case supervisor.GivingUp:
		m.gaveUp.Store(true)
	case supervisor.Released, supervisor.NotReleased:
		if m.token.Load() != 0 {
			m.tenures.add(m.ended())
		}
	case supervisor.Renewed:
		i, _ := slices.BinarySearch(renewalBounds[:], e.Took.Seconds())
		m.renewals[i].Add(1)
		m.renewing.Add(int64(e.Took))
		if e.Until != 0 {
			m.lease.Store(int64(e.Until.Sub(bootclock.Now())))
		}
	case supervisor.RenewalFailing:
		m.failures.Add(1)
	case supervisor.ChildStarted:
		m.starts.Add(1)
	case supervisor.ChildStopped:
		m.exits[e.Status&255].Add(1)
	case supervisor.Restarting:
		m.restarts.Add(1)
	case supervisor.TickKnown, supervisor.TickBegan, supervisor.TickEnded, supervisor.TickSkipped:
		m.tick(e)
	}
	m.standing.tell(e)
}

// ended says how the tenure has ended.
func (m *metrics) ended() string {
	switch {
	case m.lost.Load():
		return tenureLost
	case m.gaveUp.Load():
		return tenureGivenUp
	}
	return tenureReleased
}

func (m *metrics) tick(e supervisor.Event) {
	at, err := time.Parse(time.RFC3339Nano, e.Tick)
	due := at.UnixNano()
	if err != nil { // of a key
		due = 0
	}
	switch e.Kind {
	case supervisor.TickKnown:
		m.startedDue.Store(due)
	case supervisor.TickBegan:
		m.ticks.add(string(supervisor.StateStarted))
		m.startedDue.Store(max(due, m.startedDue.Load())) // an older one may be run again
	case supervisor.TickSkipped:
		m.ticks.add(string(supervisor.StateSkipped))
	case supervisor.TickEnded:
		m.ticks.add(string(e.State))
		if e.State == supervisor.StateFinished {
			m.finishedDue.Store(due)
			m.finished.Store(time.Now().UnixNano())
		}
	}
}

// expose writes them all.
func (m *metrics) expose() []byte {
	x := &exposition{labels: m.labels}
	x.family("leaderrun_build_info", "gauge", "1, with what runs here")
	x.sample("leaderrun_build_info", 1, "version", version)
	m.exposeTenure(x)
	m.exposeRenewals(x)
	m.exposeChild(x)
	m.exposeTicks(x)
	x.counter("leaderrun_log_lines_dropped_total", "Log lines that nobody will read, because standard error was full", float64(m.dropped()))
	return x.Bytes()
}

func (m *metrics) exposeTenure(x *exposition) {
	token, now, until := m.token.Load(), bootclock.Now(), bootclock.Instant(m.until.Load())
	if leads := "1 while this candidate leads, else 0"; token == 0 || m.lost.Load() || now >= until {
		x.gauge("leaderrun_leader", leads, 0)
	} else {
		x.gauge("leaderrun_leader", leads, 1)
		x.gauge("leaderrun_fencing_token", "The tenure's fencing token; none while not leading", float64(token))
		x.gauge("leaderrun_tenure_seconds", "How long this candidate has led; none while not leading",
			now.Sub(bootclock.Instant(m.since.Load())).Seconds())
		x.gauge("leaderrun_deadline_seconds", "Time left until the command is killed, unless a renewal succeeds; none while not leading",
			until.Sub(now).Seconds())
	}
	if lease := time.Duration(m.lease.Load()); lease > 0 {
		x.gauge("leaderrun_lease_seconds", "Time to the deadline right after the latest renewal", lease.Seconds())
	}
	x.counters("leaderrun_takeovers_total", "Tenures begun, by how the one before had ended", "cause", m.takeovers)
	x.counters("leaderrun_tenures_ended_total", "Tenures ended, by how", "cause", m.tenures)
}

func (m *metrics) exposeRenewals(x *exposition) {
	const name = "leaderrun_renewal_seconds"
	x.family(name, "histogram", "Time until the store had answered an attempt to renew that succeeded")
	count := 0.0
	for i, bound := range renewalBounds {
		count += float64(m.renewals[i].Load())
		x.sample(name+"_bucket", count, "le", strconv.FormatFloat(bound, 'f', -1, 64))
	}
	count += float64(m.renewals[len(renewalBounds)].Load())
	x.sample(name+"_bucket", count, "le", "+Inf")
	x.sample(name+"_sum", time.Duration(m.renewing.Load()).Seconds(), "", "")
	x.sample(name+"_count", count, "", "")
	x.counter("leaderrun_renewal_failures_total", "Attempts to renew that failed", float64(m.failures.Load()))
}

func (m *metrics) exposeChild(x *exposition) {
	x.counter("leaderrun_child_starts_total", "Starts of the command", float64(m.starts.Load()))
	x.counter("leaderrun_child_restarts_total", "Starts of the command again by --restart", float64(m.restarts.Load()))
	x.family("leaderrun_child_exits_total", "counter", "Ends of the command, by exit status: 128+N for signal N")
	for status := range m.exits {
		if n := m.exits[status].Load(); n > 0 {
			x.sample("leaderrun_child_exits_total", float64(n), "status", strconv.Itoa(status))
		}
	}
}

func (m *metrics) exposeTicks(x *exposition) {
	x.counters("leaderrun_ticks_total", "Ticks that this candidate has started, and how they ended", "state", m.ticks)
	stamp := func(name, help string, nanoseconds int64) {
		if nanoseconds != 0 {
			x.gauge(name, help, float64(nanoseconds)/1e9)
		}
	}
	if now := time.Now(); m.schedule != nil {
		stamp("leaderrun_tick_due_timestamp_seconds", "When the latest tick of --schedule was due, whoever is to run it", m.schedule.Latest(now).UnixNano())
		stamp("leaderrun_tick_next_due_timestamp_seconds", "When the next tick of --schedule is due", m.schedule.Next(now).UnixNano())
	}
	stamp("leaderrun_tick_started_due_timestamp_seconds", "When the latest tick was due that this candidate knows to have been started; none before it has led", m.startedDue.Load())
	stamp("leaderrun_tick_finished_due_timestamp_seconds", "When the latest tick was due that finished here", m.finishedDue.Load())
	stamp("leaderrun_tick_finished_timestamp_seconds", "When that finished", m.finished.Load())
}
