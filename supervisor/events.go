//go:build unix

package supervisor

import (
	"time"

	"leaderrun/lock"
	"leaderrun/lock/bootclock"
)

// An Event is one transition, or a sign that nothing has changed. There is one stream
// of them, to which the log, the metrics and the notices to systemd listen.
type Event struct {
	Kind   Kind
	Token  lock.Token    // of the tenure, from Elected to Released
	Holder lock.Holder   // StandingBy: who leads; zero for nobody
	PID    int           // ChildStarted, Unkillable
	Status int           // ChildStopped, TickEnded, Restarting: exit status, 128+N for signal N
	Cause  string        // why, in words
	Err    error         // what the store or the kernel said
	Took   time.Duration // Renewed: until the store had answered
	Every  time.Duration // Renewed: the next attempt is no later
	// Until is the deadline of the tenure: Elected, Renewed (while standing by that of
	// the place in the queue).
	Until bootclock.Instant
	Left  time.Duration // RenewalFailing, HookSkipped: until the deadline; Unavailable, Restarting, StandingBack: until the next try

	Tick    string    // of a job: its name
	Attempt int       // TickBegan, TickEnded: at the tick; Unhealthy: failed checks in a row
	State   TickState // TickEnded
}

// A Kind of Event.
type Kind int

// The transitions; those up to NotReleased in the order in which they come.
const (
	Campaigning    Kind = iota // a campaign begins
	Unavailable                // a campaign failed and is tried again after Left
	StandingBy                 // in the queue; again at each change of the leader
	Warning                    // people should mend something: Err
	Elected                    // leads, with Token; Cause is one of the takeovers below
	ChildStarted               // the command runs
	RenewalFailing             // an attempt to renew failed
	Renewing                   // renewals work again
	Renewed                    // an attempt to renew succeeded, after Took; at each of them, also while standing by
	Lost                       // the tenure is over; the tree is being killed
	ChildStopping              // the stop signal was sent
	ChildStopped               // nothing of the tree is left
	Unkillable                 // a process of the tree may not be killed
	Released                   // the lock was given back
	NotReleased                // it was not; the guard goes on trying

	TickKnown      // the latest that was started before this tenure
	TickBegan      // recorded as started; the command follows
	TickEnded      // the command has ended, with State
	TickUnrecorded // the end could not be recorded: it counts as interrupted
	TickSkipped    // is not run, or not again: Cause
	TickSettled    // was run by somebody else
	Restarting     // the command is started again after Left
	Unhealthy      // a check of the command failed
	HookFailed     // Cause says which, and how
	HookSkipped    // the lease has too little left for --on-lost
	GivingUp       // somebody else is to lead: Cause
	StandingBack   // no campaign for Left, if others lead meanwhile
	Waiting        // still standing back, or for another caller: a sign that it goes on
	PassedOn       // the lock was given back at once: Cause says for whom it is meant
	Stopping       // told to, by a signal: leaderrun ends after this tenure or campaign
)

// Takeovers: how the tenure before ended, as the cause of Elected.
const (
	TakeoverFirst      = "first"       // there was none, or nothing is known of it
	TakeoverReleased   = "released"    // it gave the lock back
	TakeoverHandedOver = "handed over" // it was asked to step down in favour of this candidate
	TakeoverVanished   = "vanished"    // it did not say that it ended: a host or a network was lost, or a lease
)
