//go:build unix

package guard

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"leaderrun/lock/bootclock"
)

// maxMessage bounds one message. It is also the usual capacity of a pipe.
const maxMessage = 64 << 10

// pipeBuf is PIPE_BUF of Linux: no message up to that length is ever cut (pipe(7)).
const pipeBuf = 4096

// An order goes from the supervisor to the guard: one line of JSON.
type order struct {
	Do       string            `json:"do"`
	Spec     *wireSpec         `json:"spec,omitempty"`     // prepare
	Run      int               `json:"run,omitempty"`      // start, signal, check: which command, from 1
	Check    int               `json:"check,omitempty"`    // check, end check: which, from 1
	Deadline bootclock.Instant `json:"deadline,omitempty"` // start, deadline
	Shell    []byte            `json:"shell,omitempty"`    // start, check: text for a shell; need not be UTF-8
	Env      []string          `json:"env,omitempty"`      // start, check: added to what is inherited
	Signal   syscall.Signal    `json:"signal,omitempty"`   // signal
}

// What a guard can be ordered to do.
const (
	doPrepare  = "prepare"  // always first
	doStart    = "start"    // start a command; the one before is dead
	doDeadline = "deadline" // move the deadline forward
	doSignal   = "signal"   // send a signal to the child
	doKill     = "kill"     // SIGKILL the tree now
	doHold     = "hold"     // more commands follow
	doPing     = "ping"     // say that you are there
	doCheck    = "check"    // start a shell's text beside the command
	doEndCheck = "end check"
)

type wireSpec struct {
	Path   []byte `json:"path"`   // of the command's executable; need not be UTF-8
	Ticket []byte `json:"ticket"` // standard input of the release command
	Group  int    `json:"group"`  // process group of the supervisor
}

// A report goes from the guard to the supervisor.
type report struct {
	Is     string         `json:"is"`
	PID    int            `json:"pid,omitempty"`
	Start  uint64         `json:"start,omitempty"`  // started: field 22 of /proc/PID/stat
	Signal syscall.Signal `json:"signal,omitempty"` // stopped
	Check  int            `json:"check,omitempty"`  // checked: which
	Status uint32         `json:"status,omitempty"` // dead, checked: as wait(2) gives it
	Cause  string         `json:"cause,omitempty"`  // dead
	Shared bool           `json:"shared,omitempty"` // started: in the supervisor's process group
	Front  bool           `json:"front,omitempty"`  // dead: the child was in the terminal's foreground
	Errno  syscall.Errno  `json:"errno,omitempty"`  // dead: why it did not start; unkillable
}

// What a guard reports.
const (
	isReady      = "ready" // to obey
	isStarted    = "started"
	isStopped    = "stopped"    // job control stopped the child
	isChecked    = "checked"    // a check has ended
	isDead       = "dead"       // nothing of the tree is left
	isThere      = "there"      // the answer to a ping
	isUnkillable = "unkillable" // PID may not be killed; tried on and on
)

// Causes of a death report: who ended the tree.
const (
	causeExit     = "exit"        // the child by itself
	causeDeadline = "deadline"    // the guard, at the deadline
	causeOrder    = "order"       // the supervisor
	causeOrphaned = "supervisor"  // the guard, because the supervisor is gone
	causeNoStart  = "not started" // nobody: Errno says why
)

// send writes a message without blocking: whoever reads may be frozen, and a
// deadline or a kill must not wait for that. An error means that it was not
// sent; on Linux a message is never sent in part: one that could be cut is put only into
// an empty pipe that can hold it, and is EAGAIN else. Nobody else writes to the pipe.
func send(f *os.File, message any) error {
	line, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	line = append(line, '\n')
	if len(line) > maxMessage {
		return fmt.Errorf("message of %d bytes is too long", len(line))
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var wrote int
	var werr error
	err = raw.Write(func(fd uintptr) bool {
		if len(line) > pipeBuf && !emptyPipe(int(fd), len(line)) {
			werr = syscall.EAGAIN
			return true
		}
		wrote, werr = writeFD(int(fd), line)
		return true // never wait
	})
	if err = errors.Join(err, werr); err == nil && wrote < len(line) {
		err = io.ErrShortWrite // macOS: whoever reads takes what comes next for noise
	}
	return err
}

// known tells an order from what only looks like JSON.
func (o order) known() bool {
	switch o.Do {
	case doPrepare:
		return o.Spec != nil
	case doSignal:
		return o.Signal > 0 && o.Run > 0
	case doStart:
		return o.Run > 0
	case doCheck:
		return o.Run > 0 && o.Check > 0
	case doEndCheck:
		return o.Check > 0
	case doDeadline, doKill, doHold, doPing:
		return true
	}
	return false
}

func (r report) known() bool {
	switch r.Is {
	case isStarted:
		return r.PID > 0
	case isChecked:
		return r.Check > 0
	case isReady, isThere, isStopped, isDead, isUnkillable:
		return true
	}
	return false
}

// receive calls f for every message until the other end is gone or what comes
// is not a message. Both are one to whoever reads: there is nobody to obey any
// more.
func receive[M interface{ known() bool }](r io.Reader, f func(M)) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxMessage)
	for s.Scan() {
		var m M
		if err := json.Unmarshal(s.Bytes(), &m); err != nil {
			return fmt.Errorf("decode message: %w", err)
		}
		if !m.known() {
			return fmt.Errorf("decode message: unknown: %.100q", s.Bytes())
		}
		f(m)
	}
	return s.Err()
}
