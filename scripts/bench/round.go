//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
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
	counts   bool // requests: each candidate has a gate

	leader   *process
	standbys []*process
	child    identity   // the leader's
	strays   []identity // may be left of a wrapper that was killed
	started  int        // standbys so far
	ends     []func()
}

func (b *bench) newRound(c contender) (*round, error) {
	r := &round{bench: b, c: c, election: fmt.Sprintf("bench-%d-%d", os.Getpid(), b.serial.Add(1))}
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

// atEnd does something when the round is closed.
func (r *round) atEnd(do func()) { r.ends = append(r.ends, do) }

// start starts the child under the contender's lock.
func (r *round) start(id, bin string) (*process, error) {
	addr := r.bench.addr(r.c.store)
	var g *gate
	if r.counts && r.c.store != "" {
		var err error
		if g, err = openGate(r.c.store, addr); err != nil {
			return nil, err
		}
		r.atEnd(g.close)
		addr = g.addr()
	}
	argv := r.c.argv(r, bin, addr, id, r.bench.child, r.stage.stampsPath, r.stage.endPath)
	p, err := start(argv, environment(), filepath.Join(r.dir, id+".log"))
	if err == nil {
		p.gate = g
	}
	return p, err
}

// lead starts a leader and waits for its child.
func (r *round) lead(ctx context.Context, bin string) (err error) {
	if r.leader, err = r.start(leader, bin); err != nil {
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

// standBy starts standbys until there are n, and waits until all are in the queue.
func (r *round) standBy(ctx context.Context, bin string, n int) error {
	for len(r.standbys) < n {
		r.started++
		p, err := r.start(fmt.Sprintf("%s-%d", standby, r.started), bin)
		if err != nil {
			return err
		}
		r.standbys = append(r.standbys, p)
	}
	limit := patient + time.Duration(n)*time.Second
	err := until(ctx, "the standbys to be in the queue", limit, func() (bool, error) { return r.c.queued(r) })
	if err != nil {
		return err
	}
	return pause(ctx, settle)
}

// promote makes a leader of the standby whose child that is, once the one before
// has ended by itself.
func (r *round) promote(st stamp) error {
	if err := r.leader.wait(patient); err != nil {
		return err
	}
	i := slices.IndexFunc(r.standbys, func(p *process) bool { return descends(st.pid, p.pid()) })
	var alive bool
	if r.child, alive = identify(st.pid); i < 0 || !alive {
		return fmt.Errorf("child %d of the next leader ended at once", st.pid)
	}
	r.leader = r.standbys[i]
	r.standbys = slices.Delete(r.standbys, i, i+1)
	return nil
}

// close ends what the round started, standbys first, then children, and removes its
// files. Wrappers end with their children; who does not is killed, and that an error.
func (r *round) close() error {
	for _, p := range r.candidates() {
		r.strays = append(r.strays, below(p.pid())...)
	}
	for _, p := range r.candidates() { // goes on, if a fault has stopped it; it may have ended
		_ = p.signal(syscall.SIGCONT)
		if p.gate != nil {
			p.gate.speak()
		}
	}
	for _, p := range r.standbys {
		_ = p.signal(syscall.SIGTERM)
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
	for _, end := range r.ends {
		end()
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// explain adds to an error what the candidates said, the first of many.
func (r *round) explain(err error) error {
	list := r.candidates()
	for _, p := range list[:min(3, len(list))] {
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

func (r *round) candidates() []*process {
	if r.leader == nil {
		return r.standbys
	}
	return append([]*process{r.leader}, r.standbys...)
}
