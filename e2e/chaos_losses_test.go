//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

// A ledger takes the losses from the candidates' logs as they grow.
type ledger struct {
	read   map[*candidate]int64 // how far
	losses []loss               // at is set in the end
	known  map[uint64]bool      // by token
}

func newLedger() *ledger { return &ledger{read: map[*candidate]int64{}, known: map[uint64]bool{}} }

// look reads what the candidate has logged since the last look.
func (l *ledger) look(t testing.TB, c *candidate) {
	t.Helper()
	f, err := os.Open(c.log)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	data, err := io.ReadAll(io.NewSectionReader(f, l.read[c], math.MaxInt64-l.read[c]))
	must(t, err)
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	l.read[c] += int64(len(data))
	for line := range strings.Lines(string(data)) {
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.UseNumber()
		var said logLine
		if decoder.Decode(&said) == nil && said != nil {
			l.note(c, said)
		}
	}
}

func (l *ledger) note(c *candidate, said logLine) {
	cause := said.get("cause")
	switch said.msg() {
	case lost:
	case "child stopping":
		if cause != "renewals fail" {
			return
		}
	case childStopped:
		if strings.HasPrefix(cause, "received") || cause == "ended by itself" || cause == "killed: did not stop in time" {
			return // of the last one a line before has told why it was to stop
		}
	default:
		return
	}
	token, err := strconv.ParseUint(said.get("fencing_token"), 10, 64)
	if err != nil || l.known[token] {
		return
	}
	l.known[token] = true
	l.losses = append(l.losses, loss{candidate: c.id, token: token, at: now(), why: said.msg() + ": " + cause})
}

// settled returns the losses with the time of each: about the tenure's last beat, if it
// had one, for the log goes by the wall's clock. A busy machine lets some time go by
// between the last beat and the death, so that this is no earlier than what caused it.
func (l *ledger) settled(h *history) []loss {
	for i, loss := range l.losses {
		if n := h.tenures[loss.token]; n != nil {
			l.losses[i].at = min(loss.at, n.last.add(tendEvery))
		}
	}
	return l.losses
}
