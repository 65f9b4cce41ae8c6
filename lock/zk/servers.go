package zk

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/transport"
)

// A server is what came of dialling one address, and what it says of itself.
type server struct {
	endpoint string
	conn     *conn // nil if it does not serve
	err      error
	version  string        // such as 3.8.0; empty if it is not told
	mode     string        // leader, follower, standalone, ...; likewise
	tick     time.Duration // likewise
}

func (s *Store) meet(ctx context.Context) []server {
	ctx, cancel := context.WithTimeout(ctx, max(s.bound, leaveTime))
	defer cancel()
	servers := make([]server, len(s.hosts))
	var all sync.WaitGroup
	for i, host := range s.hosts {
		all.Go(func() {
			v := &servers[i]
			v.endpoint = host
			if v.conn, v.err = s.dialCommon(ctx, host, nil); v.err == nil {
				v.note(s.dialer.word(ctx, host, "srvr"))
				v.note(s.dialer.word(ctx, host, "conf")) // mostly forbidden: 4lw.commands.whitelist
			}
		})
	}
	all.Wait()
	return servers
}

// word asks what servers tell without a session; empty if they do not.
func (d dialer) word(ctx context.Context, endpoint, word string) string {
	link, err := d.transport.Dial(ctx, endpoint, nil)
	if err != nil {
		return ""
	}
	defer context.AfterFunc(ctx, link.Abort)()
	defer func() { _ = link.Close() }()
	if _, err := io.WriteString(link, word); err != nil {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(link, 1<<16)) // an end without a goodbye is one, too
	return string(b)
}

func (v *server) note(answer string) {
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		if version, ok := strings.CutPrefix(line, "Zookeeper version: "); ok {
			v.version, _, _ = strings.Cut(version, "-")
		}
		if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
			v.mode = mode
		}
		var ms int64
		if n, _ := fmt.Sscanf(line, "tickTime=%d", &ms); n == 1 {
			v.tick = time.Duration(ms) * time.Millisecond
		}
	}
}

// inspectServers tells of each address, and returns the tick, if it is told, and
// whether one of them serves.
func (s *Store) inspectServers(ctx context.Context, tell lock.Tell) (tick time.Duration, serving bool) {
	servers := s.meet(ctx)
	var links []*transport.Link
	for _, v := range servers {
		if v.conn != nil {
			defer v.conn.Close(false)
			links = append(links, v.conn.wire.link)
			serving = true
			tick = max(tick, v.tick)
		}
	}
	if ctx.Err() != nil {
		return 0, false
	}
	for _, v := range servers {
		switch {
		case v.err == nil:
			tell.OK("address", "%s answers", v.endpoint)
		case serving:
			tell.Warn("address", "%v", v.err)
		default:
			tell.Fail("address", v.err)
		}
	}
	var versions []lock.Version
	for _, v := range servers {
		told := lock.Version{At: v.endpoint, Text: "ZooKeeper " + v.version}
		switch bug := losesWrites(v.version); {
		case v.conn == nil:
			continue
		case v.version == "":
			told.Text = "not told: srvr is not in 4lw.commands.whitelist"
		case bug != "" && v.mode != "standalone":
			told.Text, told.Warning = told.Text+" may lose what it has answered when servers restart while its leader changes ("+bug+"), and two candidates could lead: use 3.8.4, 3.9.2, 3.9.4 or newer", true
		}
		versions = append(versions, told)
	}
	tell.Versions(versions)
	if serving {
		s.dialer.transport.Inspect(tell, links, s.dialer.settings.User != "")
	}
	return tick, serving
}

// losesWrites names the bug of an ensemble's version. ZOOKEEPER-4785: a follower
// says that it has what it did not write yet (apache/zookeeper pull requests 2132
// and 2133, in 3.8.4 and 3.9.2). ZOOKEEPER-4925: a follower passes on a history with
// a hole (pull request 2266: 3.9.3 alone, mended in 3.9.4).
func losesWrites(version string) string {
	var major, minor, patch int
	if n, _ := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); n < 3 || major != 3 {
		return ""
	}
	switch {
	case minor == 9 && patch == 3:
		return "ZOOKEEPER-4925"
	case minor < 8, minor == 8 && patch < 4, minor == 9 && patch < 2:
		return "ZOOKEEPER-4785"
	}
	return ""
}
