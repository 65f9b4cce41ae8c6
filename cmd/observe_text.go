//go:build unix

package cmd

// The texts of status, step-down and verify.

const (
	statusShort = "Say who leads, who stands by, and what was run"

	statusLong = `leaderrun status says who leads each election below the prefix of --store, or
the one of --name: since when, with which fencing token, who stands by in the
order in which they come to lead, and the last ticks of its job. It asks the
store, and takes no part. Exit status: 0 led, 1 not led (without --name: one
of them, or there is none), 69 store unavailable.`

	statusExamples = `  leaderrun status --store etcd://10.0.0.1:2379
  leaderrun status --store etcd://10.0.0.1:2379 --name billing --json
  leaderrun status --store etcd://10.0.0.1:2379 --watch`

	statusNameUsage = "this election only (default all below the prefix)"
)

const (
	stepDownShort = "Have the leader stop and let another host lead"

	stepDownLong = `leaderrun step-down asks the leader of --name to stop its command as on TERM,
to give the lock back and to let others lead first for 30 s; then it waits and
says who leads. --to says who that should be: what its id begins with, such as
its host. A leader that does not answer within 5 s is frozen or cut off:
nothing is changed. Exit status: 0 another one leads (--to: that one), 1 not,
69 store unavailable, 75 not within --wait.`

	stepDownExamples = `  leaderrun step-down --store etcd://10.0.0.1:2379 --name billing
  leaderrun step-down --store etcd://10.0.0.1:2379 --name billing --to h2`
)

const (
	verifyShort = "Say whether this job still leads, and for how long"

	verifyLong = `leaderrun verify asks the store whether the tenure of --fencing-token leads
now. In a job it needs no flag: store, name and token are those of the job
(the flags of --tls and of logging in are not known to it: set them as
variables). It prints for how many seconds the job may go on even if no
further renewal succeeds; nothing where it cannot know, which is outside the
job. Exit status: 0 it leads, 1 not, 69 store unavailable. What it says may be
over a moment later: only a resource that checks the fencing token is safe.`

	verifyExamples = `  leaderrun verify && ./write-report
  left=$(leaderrun verify) && [ "${left%.*}" -ge 5 ] && ./short-step`
)
