//go:build unix

package guard

import (
	"bytes"
	"os"
	"testing"

	"leaderrun/lock/bootclock"
)

// A reader that does not read costs the sender nothing, and what is sent is
// never cut.
func TestSendDoesNotBlock(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for ; sent < 1_000_000; sent++ {
		if send(w, order{Do: doDeadline, Deadline: bootclock.Instant(sent + 1)}) != nil {
			break
		}
	}
	if sent < 10 || sent == 1_000_000 {
		t.Fatalf("%d messages fit into a pipe", sent)
	}
	_ = w.Close()
	got := 0
	if err := receive(r, func(o order) {
		got++
		if o.Deadline != bootclock.Instant(got) {
			t.Errorf("message %d is %+v", got, o)
		}
	}); err != nil || got != sent {
		t.Errorf("received %d of %d: %v", got, sent, err)
	}
}

func TestSendToNobody(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if send(w, order{Do: doKill}) == nil {
		t.Error("no error from a pipe without a reader")
	}
}

func TestSendRefusesWhatDoesNotFit(t *testing.T) {
	_, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	big := order{Do: doPrepare, Spec: &wireSpec{Path: bytes.Repeat([]byte("x"), maxMessage)}}
	if send(w, big) == nil {
		t.Error("a message longer than a pipe was taken")
	}
}
