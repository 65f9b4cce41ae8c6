package zk

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A release wakes whoever is next, not all: with many who wait a hand-over takes as
// many requests as with few.
func TestNoHerd(t *testing.T) {
	const handOvers, standbys = 5, 20
	r := fast(t)
	holder := r.lead(r.open(), "holder")
	var waiting []*run
	for i := range standbys + handOvers {
		waiting = append(waiting, r.standBy(r.open(), fmt.Sprint("b", i)))
	}
	var packets []int
	for range handOvers {
		before := r.packets()
		holder.Release()
		holder, waiting = waiting[0], waiting[1:]
		holder.Wins(prompt)
		waiting[0].Waits(30 * time.Millisecond) // and all the others should do nothing
		packets = append(packets, r.packets()-before)
	}
	t.Logf("packets: %v", packets)
	// Some of them are renewals, and looks in passing; were all woken, 60 at least.
	least := packets[0]
	for _, n := range packets {
		least = min(least, n)
	}
	if least > standbys {
		t.Errorf("%v packets for each hand-over, with at least %d who wait", packets, standbys)
	}
}

// packets is how many the server has got.
func (r *rig) packets() (n int) {
	r.Helper()
	conn, err := net.DialTimeout("tcp", r.zoo.Endpoints()[0], patient)
	r.must(err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "mntr")
	r.must(err)
	text, err := io.ReadAll(conn)
	r.must(err)
	_, count, _ := strings.Cut(string(text), "zk_packets_received\t")
	_, err = fmt.Sscan(count, &n)
	r.must(err)
	return n
}
