//go:build unix

package cmd

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"leaderrun/supervisor"
)

// A notifier tells systemd how the unit is (sd_notify(3)). It never makes the
// supervisor wait: a socket that is full holds up a goroutine of its own, which then
// goes on with the latest state. A missed one is made good by the next.
type notifier struct {
	election string
	pulse    *pulse
	stopTime time.Duration // what a stop may take

	mu      sync.Mutex
	state   string // the latest
	role    string // STATUS while renewals work
	leaving bool   // told to stop, or about to exit: nothing else is news
	changed chan struct{}
	exiting chan struct{} // closed when the latest state is the last
	told    chan struct{} // closed when systemd has that
}

// newNotifier returns nil where nobody wants to be told.
func newNotifier(o *options, p *pulse) *notifier {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	n := &notifier{
		election: printable(o.name), pulse: p, stopTime: time.Duration(o.stopTimeout+o.hookTimeout) + leaveTime,
		changed: make(chan struct{}, 1), exiting: make(chan struct{}), told: make(chan struct{}),
	}
	go n.send()
	return n
}

// leaveTime is, at the most, for a kill and a release that do not go smoothly.
const leaveTime = 5 * time.Second

func (n *notifier) tell(e supervisor.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.Kind == supervisor.Stopping && !n.leaving {
		n.leaving = true
		// A --stop-timeout longer than the unit's TimeoutStopSec is meant.
		n.set(fmt.Sprintf("%s\nEXTEND_TIMEOUT_USEC=%d\nSTATUS=stopping: %s",
			daemon.SdNotifyStopping, n.stopTime.Microseconds(), e.Cause))
	} else if status := n.status(e); status != "" && !n.leaving {
		n.set("STATUS=" + status)
	}
}

// status is what people read of an event; "" is nothing new.
func (n *notifier) status(e supervisor.Event) string {
	switch e.Kind {
	case supervisor.Campaigning:
		n.role = "campaigns for " + n.election
	case supervisor.StandingBy:
		n.role = "stands by for " + n.election
		if e.Holder.Token != 0 {
			n.role += fmt.Sprintf("; %s leads", printable(e.Holder.ID))
		}
	case supervisor.Elected:
		n.role = fmt.Sprintf("leads %s since %s, fencing token %d", n.election, time.Now().Format(time.RFC3339), e.Token)
	case supervisor.StandingBack:
		n.role = fmt.Sprintf("stands back from %s for %v", n.election, e.Left)
	case supervisor.Renewing:
	case supervisor.RenewalFailing:
		return fmt.Sprintf("%s; renewals fail: %s", n.role, oneLine(e.Err))
	case supervisor.Lost:
		return fmt.Sprintf("lost %s: %s", n.election, oneLine(e.Err))
	case supervisor.Unavailable:
		return fmt.Sprintf("%s: %s", n.election, oneLine(e.Err))
	default:
		return ""
	}
	return n.role
}

func (n *notifier) set(state string) {
	n.state = state
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// leave tells that leaderrun is about to exit, and waits a moment for systemd to
// have it.
func (n *notifier) leave() {
	if n == nil {
		return
	}
	n.mu.Lock()
	if !n.leaving {
		n.leaving, n.state = true, daemon.SdNotifyStopping+"\nSTATUS=exiting"
	}
	n.mu.Unlock()
	close(n.exiting)
	select {
	case <-n.told:
	case <-time.After(200 * time.Millisecond):
	}
}

// send tells systemd. The unit is ready before anything else is said of it.
func (n *notifier) send() {
	defer close(n.told)
	var alive <-chan time.Time
	if period, _ := daemon.SdWatchdogEnabled(false); period > 0 {
		alive = time.Tick(period / 3) // one that is held up does no harm
	}
	for ready := false; ; {
		over := false
		select {
		case <-alive:
			if n.pulse.beats() {
				_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
			}
			continue
		case <-n.changed:
		case <-n.exiting:
			over = true
		}
		if !ready {
			_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
			ready = true
		}
		n.mu.Lock()
		state := n.state
		n.mu.Unlock()
		_, _ = daemon.SdNotify(false, state)
		if over {
			return
		}
	}
}
