//go:build unix

package supervisor

import (
	"time"

	"leaderrun/lock"
)

// An Event is one transition. There is one stream of them, to which the log,
// and later metrics and status, listen.
type Event struct {
	Kind   Kind
	Token  lock.Token    // of the tenure, from Elected to Released
	Holder lock.Holder   // StandingBy: who leads; zero for nobody
	PID    int           // ChildStarted, Unkillable
	Status int           // ChildStopped: exit status, 128+N for signal N
	Cause  string        // why, in words
	Err    error         // what the store or the kernel said
	Left   time.Duration // RenewalFailing: until the deadline; Unavailable: until the next try
}

// A Kind of Event.
type Kind int

// The transitions, in the order in which they come.
const (
	Campaigning    Kind = iota // a campaign begins
	Unavailable                // a campaign failed and is tried again after Left
	StandingBy                 // in the queue; again at each change of the leader
	Warning                    // people should mend something: Err
	Elected                    // leads, with Token
	ChildStarted               // the command runs
	RenewalFailing             // an attempt to renew failed
	Renewing                   // renewals work again
	Lost                       // the tenure is over; the tree is being killed
	ChildStopping              // the stop signal was sent
	ChildStopped               // nothing of the tree is left
	Unkillable                 // a process of the tree may not be killed
	Released                   // the lock was given back
	NotReleased                // it was not; the guard goes on trying
)
