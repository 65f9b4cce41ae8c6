//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"leaderrun/lock/bootclock"
)

const (
	patient = 10 * time.Second // for what takes milliseconds
	// settle passes between a standby's entry into the queue and the fault, so
	// that its start is over.
	settle = 100 * time.Millisecond
)

// A round is an election of its own.
type round struct {
	bench    *bench
	c        contender
	dir      string
	election string
	bin      string
	stage    *stage

	leader, standby *process
	child           identity   // the leader's
	strays          []identity // may be left of a wrapper that was killed
}

func (b *bench) newRound(c contender) (*round, error) {
	b.serial++
	r := &round{bench: b, c: c, election: fmt.Sprintf("bench-%d-%d", os.Getpid(), b.serial)}
	r.dir = filepath.Join(b.dir, r.election)
	var err error
	if c.binary != nil {
		if r.bin, err = c.binary(b); err != nil {
			return nil, err
		}
	}
	if err = os.Mkdir(r.dir, 0o700); err == nil {
		r.stage, err = newStage(r.dir)
	}
	return r, err
}

// start starts the child under the contender's lock.
func (r *round) start(id, bin string) (*process, error) {
	argv := r.c.argv(r.bench, r, bin, id, r.bench.child, r.stage.stampsPath, r.stage.endPath)
	return start(argv, r.c.env(r.bench), filepath.Join(r.dir, id+".log"))
}

// lead starts a leader and waits for its child.
func (r *round) lead(ctx context.Context, bin string) (err error) {
	if r.leader, err = r.start("leader", bin); err != nil {
		return err
	}
	st, err := r.stage.next(ctx, patient)
	if err != nil {
		return err
	}
	var alive bool
	if r.child, alive = identify(st.pid); !alive {
		return errors.New("the leader's child ended at once")
	}
	return nil
}

// standBy starts a standby and waits until it is in the queue.
func (r *round) standBy(ctx context.Context, bin string) (err error) {
	if r.standby, err = r.start("standby", bin); err != nil {
		return err
	}
	err = until(ctx, "the standby to be in the queue", patient, func() (bool, error) {
		return r.c.queued(ctx, r, r.standby.pid())
	})
	if err != nil {
		return err
	}
	return pause(ctx, settle)
}

// close ends what the round started, children first, and removes its files.
// Wrappers end with their children; who does not is killed, and that an error.
func (r *round) close() error {
	for _, p := range r.candidates() {
		r.strays = append(r.strays, below(p.pid())...)
	}
	errs := []error{r.stage.close()}
	for _, p := range r.candidates() {
		errs = append(errs, p.wait(patient))
	}
	for _, id := range r.strays {
		err := until(context.Background(), fmt.Sprintf("process %d to end", id.pid), patient, func() (bool, error) {
			return !id.alive(), nil
		})
		if err != nil {
			_ = syscall.Kill(id.pid, syscall.SIGKILL)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// explain adds to an error what the candidates said.
func (r *round) explain(err error) error {
	for _, p := range r.candidates() {
		err = fmt.Errorf("%w\n--- %s:\n%s", err, filepath.Base(p.log), p.logTail())
	}
	return err
}

// complaint returns a warning that leaderrun logged: then the figure is not of
// what it seems to be.
func (r *round) complaint() string {
	for _, p := range r.candidates() {
		for _, l := range readLog(p.log) {
			if l.Level == "WARN" || l.Level == "ERROR" {
				return fmt.Sprintf("%s warned: %s: %s", filepath.Base(p.log), l.Msg, l.Cause)
			}
		}
	}
	return ""
}

func (r *round) candidates() (started []*process) {
	for _, p := range []*process{r.leader, r.standby} {
		if p != nil {
			started = append(started, p)
		}
	}
	return started
}

// A fault is what makes the standby lead.
type fault func(*round) error

func childEnds(r *round) error { return r.stage.endOne() }

func terminate(r *round) error { return r.leader.signal(syscall.SIGTERM) }

func killSupervisor(r *round) error { return r.leader.signal(syscall.SIGKILL) }

// handover measures from before the fault to the first instruction of the next
// child. remark is what else there is to say.
func (b *bench) handover(ctx context.Context, c contender, do fault) (took time.Duration, remark string, err error) {
	r, err := b.newRound(c)
	if err != nil {
		return 0, "", err
	}
	defer func() {
		if err != nil {
			err = r.explain(err)
		}
		err = errors.Join(err, r.close())
	}()
	if err = r.lead(ctx, r.bin); err != nil {
		return 0, "", err
	}
	if err = r.standBy(ctx, r.bin); err != nil {
		return 0, "", err
	}
	r.strays = below(r.leader.pid())
	limit := patient
	if c.once > 0 {
		limit = c.once
	}
	at := bootclock.Now()
	if err = do(r); err != nil {
		return 0, "", err
	}
	next, err := r.stage.next(ctx, limit)
	if c.once > 0 && errors.Is(err, errNoChild) {
		return 0, fmt.Sprintf("not within %v: %s", limit, r.fate()), nil
	}
	if err != nil {
		return 0, "", err
	}
	if r.child.alive() {
		if c.once == 0 {
			return 0, "", errors.New("two children at once: the next one started while the one before lived")
		}
		return next.at.Sub(at), "two children at once: the one before still runs", nil
	}
	return next.at.Sub(at), r.complaint(), nil
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

// cold measures a whole run of `true`, from before the fork until it is reaped.
func (b *bench) cold(ctx context.Context, c contender, r *round) (time.Duration, error) {
	argv := c.argv(b, r, r.bin, "cold", "/bin/true")
	p, err := start(argv, c.env(b), filepath.Join(r.dir, "cold.log"))
	if err != nil {
		return 0, err
	}
	if err = p.wait(patient); err == nil && !p.cmd.ProcessState.Success() {
		err = fmt.Errorf("%v\n%s", p.cmd.ProcessState, p.logTail())
	}
	return p.ended.Sub(p.started), errors.Join(err, ctx.Err())
}
