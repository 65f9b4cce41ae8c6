//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"leaderrun/scripts/servers"
)

// What passes the gates of a round is what the server itself has counted. etcd counts
// the end of a stream, too: there, only calls are compared.
func TestGatesCountAsServersDo(t *testing.T) {
	root, err := servers.Root()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: t.TempDir(), servers: map[string]server{}}
	if err := b.build(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	for store, c := range map[string]struct {
		contender contender
		counted   func(testing.TB, string) int
		asking    int // what counted itself adds
	}{
		etcd:      {leaderrunEtcd, etcdMessages, 0},
		zookeeper: {leaderrunZK, zkPackets, 1},
	} {
		t.Run(store, func(t *testing.T) {
			servers.Require(t, store)
			s, err := starters[store](t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
			}()
			b.servers[store] = s
			before := c.counted(t, b.addr(store))
			passed := passedGates(t, b, c.contender)
			counted := c.counted(t, b.addr(store)) - before - c.asking
			if passed < 10 || passed != counted {
				t.Errorf("%d requests passed, the server counts %d", passed, counted)
			}
		})
	}
}

// passedGates returns how many requests a leader and its standby make, from the start
// of one to the end of the other.
func passedGates(t *testing.T, b *bench, c contender) (n int) {
	t.Helper()
	r, err := b.newRound(c)
	if err != nil {
		t.Fatal(err)
	}
	r.counts = true
	err = r.lead(t.Context(), r.bin)
	if err == nil {
		err = r.standBy(t.Context(), r.bin, 1)
	}
	gates := r.candidates()
	if err := r.conclude(err); err != nil {
		t.Fatal(err)
	}
	for _, p := range gates {
		n += p.gate.soFar().since(nil, "Watch/Watch", "Lease/LeaseKeepAlive").sum()
	}
	return n
}

func etcdMessages(t testing.TB, addr string) (n int) {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "grpc_server_msg_received_total{") && strings.Contains(line, `grpc_type="unary"`) {
			var of int
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' '):], &of); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			n += of
		}
	}
	return n
}

func zkPackets(t testing.TB, addr string) (n int) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "mntr"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if count, ok := strings.CutPrefix(line, "zk_packets_received\t"); ok {
			if _, err := fmt.Sscan(count, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("mntr says no zk_packets_received:\n%s", text)
	return 0
}
