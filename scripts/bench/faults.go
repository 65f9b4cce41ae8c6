//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"leaderrun/lock/bootclock"
)

// A fault is what makes the standby lead.
type fault func(*round) error

func childEnds(r *round) error { return r.stage.endOne() }

func terminate(r *round) error { return r.leader.signal(syscall.SIGTERM) }

func killSupervisor(r *round) error { return r.leader.signal(syscall.SIGKILL) }

func stopSupervisor(r *round) error { return r.leader.signal(syscall.SIGSTOP) }

// silence cuts the leader off from its store without a reset.
func silence(r *round) error {
	r.leader.gate.silence()
	return nil
}

// killTree ends all processes of the leader at once: none of them sees another's end,
// for all are stopped by then.
func killTree(r *round) error {
	var err error
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		err = errors.Join(err, r.leader.signal(s))
		for _, id := range r.strays {
			// The kernel may have ended it with its parent.
			if e := syscall.Kill(id.pid, s); !errors.Is(e, syscall.ESRCH) {
				err = errors.Join(err, e)
			}
		}
	}
	return err
}

func faults(do fault) func(context.Context, *bench, []*table, []contender) error {
	return faultsThrough(false, do)
}

// faultsThrough has gates between the candidates and their store, or not.
func faultsThrough(gates bool, do fault) func(context.Context, *bench, []*table, []contender) error {
	return func(ctx context.Context, b *bench, t []*table, contenders []contender) error {
		return inTurns(ctx, b.rounds, t[0], contenders, func(c contender) (float64, string, error) {
			took, remark, err := b.handover(ctx, c, gates, do)
			return float64(took), remark, err
		})
	}
}

// handover measures from before the fault to the first instruction of the next
// child. remark is what else there is to say.
func (b *bench) handover(ctx context.Context, c contender, gates bool, do fault) (took time.Duration, remark string, err error) {
	r, err := b.newRound(c)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = r.conclude(err) }()
	r.counts = gates
	if err = r.lead(ctx, r.bin); err != nil {
		return 0, "", err
	}
	if err = r.standBy(ctx, r.bin, 1); err != nil {
		return 0, "", err
	}
	r.strays = below(r.leader.pid())
	at := bootclock.Now()
	if err = do(r); err != nil {
		return 0, "", err
	}
	next, err := r.stage.next(ctx, c.limit())
	if c.once > 0 && errors.Is(err, errNoChild) {
		return 0, fmt.Sprintf("not within %v: %s", c.limit(), r.fate()), nil
	}
	if err != nil {
		return 0, "", err
	}
	if r.child.alive() {
		if c.rival != "" {
			return 0, "", errors.New("two children at once: the next one started while the one before lived")
		}
		return next.at.Sub(at), "two children at once: the one before still runs", nil
	}
	return next.at.Sub(at), r.complaint(), nil
}

// limit bounds a contender's wait for what a fault leads to.
func (c contender) limit() time.Duration {
	if c.once > 0 {
		return c.once
	}
	return patient
}

// conclude closes the round, after it has explained what went wrong in it.
func (r *round) conclude(err error) error {
	if err != nil {
		err = r.explain(err)
	}
	return errors.Join(err, r.close())
}

// fate says why nobody leads after a fault.
func (r *round) fate() string {
	switch {
	case r.leader.running():
		return "the leader does not heed it"
	case r.child.alive():
		return "its child lives on and keeps the lock"
	default:
		return "the lock is not given back"
	}
}

func revocations(ctx context.Context, b *bench, t []*table, contenders []contender) error {
	return inTurns(ctx, b.rounds, t[0], contenders, func(c contender) (float64, string, error) {
		took, remark, err := b.revocation(ctx, c)
		return float64(took), remark, err
	})
}

// revocation measures from before the request that takes the lease away to the death
// of the child.
func (b *bench) revocation(ctx context.Context, c contender) (took time.Duration, remark string, err error) {
	r, err := b.newRound(c)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = r.conclude(err) }()
	if err = r.lead(ctx, r.bin); err != nil {
		return 0, "", err
	}
	if err = pause(ctx, settle); err != nil {
		return 0, "", err
	}
	revoke, err := c.lease(r)
	if err != nil {
		return 0, "", err
	}
	died, err := watchDeath(r.child.pid, c.limit())
	if err != nil {
		return 0, "", err
	}
	at := bootclock.Now()
	if err = revoke(); err != nil {
		return 0, "", err
	}
	switch end, dead := <-died; {
	case dead:
		return end.Sub(at), "", nil
	case c.once > 0:
		return 0, fmt.Sprintf("not within %v: the child lives on", c.limit()), nil
	default:
		return 0, "", fmt.Errorf("the child lives %v after its lease", c.limit())
	}
}

// alone measures the start of the child itself, which is in every figure.
func (b *bench) alone(ctx context.Context) (time.Duration, error) {
	r, err := b.newRound(bare)
	if err != nil {
		return 0, err
	}
	var st stamp
	if r.leader, err = r.start("alone", ""); err == nil {
		st, err = r.stage.next(ctx, patient)
	}
	if err = errors.Join(err, r.close()); err != nil {
		return 0, err
	}
	return st.at.Sub(r.leader.started), nil
}

// whole measures a program from before the fork until it is reaped.
func whole(ctx context.Context, argv []string, dir string) (time.Duration, error) {
	p, err := start(argv, environment(), filepath.Join(dir, "whole.log"))
	if err != nil {
		return 0, err
	}
	if err = p.wait(patient); err == nil && !p.cmd.ProcessState.Success() {
		err = fmt.Errorf("%v\n%s", p.cmd.ProcessState, p.logTail())
	}
	return p.ended.Sub(p.started), errors.Join(err, ctx.Err())
}
