//go:build unix

package cmd

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/supervisor"
)

// A leaderrun that makes no progress, whatever else of it runs on, does not feed the
// watchdog; the next sign of progress makes it do so again.
func TestStuckFeedsNoWatchdog(t *testing.T) {
	const period = 60 * time.Millisecond
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(period.Microseconds()))
	p := newPulse()
	p.last.Store(0) // when the machine was started
	n := newNotifier(&options{}, p)
	defer n.leave()
	fed := func(within time.Duration) bool {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		buf := make([]byte, 1024)
		for {
			size, err := conn.Read(buf)
			if err != nil {
				return false
			}
			if strings.Contains(string(buf[:size]), "WATCHDOG=1") {
				return true
			}
		}
	}
	n.tell(supervisor.Event{Kind: supervisor.Campaigning}) // which p does not hear of
	if fed(5 * period) {
		t.Error("fed without a sign of progress")
	}
	p.tell(supervisor.Event{Kind: supervisor.Renewed})
	if !fed(10 * time.Second) {
		t.Error("not fed after a sign of progress")
	}
}

// What people read while renewals fail and work again is of the present role, not of a
// tenure before.
func TestStatusOfTheRole(t *testing.T) {
	n := &notifier{election: "x"}
	failing, again := supervisor.Event{Kind: supervisor.RenewalFailing, Err: lock.ErrUnavailable}, supervisor.Event{Kind: supervisor.Renewing}
	leader := lock.Holder{ID: "h/1", Token: 8}
	for i, step := range []struct {
		event supervisor.Event
		want  string
	}{
		{supervisor.Event{Kind: supervisor.Elected, Token: 7}, "leads x since "},
		{failing, ", fencing token 7; renewals fail: store unavailable"},
		{again, "leads x since "},
		{supervisor.Event{Kind: supervisor.Lost, Err: lock.ErrLost}, "lost x: "},
		{supervisor.Event{Kind: supervisor.StandingBy, Holder: leader}, "stands by for x; h/1 leads"},
		{failing, "stands by for x; h/1 leads; renewals fail: store unavailable"},
		{again, "stands by for x; h/1 leads"},
	} {
		if got := n.status(step.event); !strings.Contains(got, step.want) {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}
