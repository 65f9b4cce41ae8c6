//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// The tables of a fleet.
const (
	manyTimes = iota
	manyMemory
	manyRates
)

const (
	few  = 5 // elections beside which a fleet is seen to be large
	calm = 30 * time.Second
	// manyTTL is twice the default, so that one host bears a larger fleet, its store and
	// this program. A short outage leaves most of it, a long one nothing.
	manyTTL     = 30 * time.Second
	shortOutage = 5 * time.Second
	longOutage  = manyTTL + 5*time.Second
	// after is what is looked at once the store is back.
	after       = 10 * time.Second
	fleetStarts = 5 * time.Minute // at most
	fleetReady  = time.Minute     // likewise, once the store is back
)

// A breakable server can be taken away.
type breakable interface {
	server
	Kill(node int) error
	Restart(node int) error
	Pid(node int) int
}

// A muster is one fleet and what is measured of it.
type muster struct {
	b     *bench
	c     contender
	t     []*table
	store breakable
	gate  *turnstile
	fleet *fleet
	calm  float64 // requests in a tenth of a second
}

// many runs as many leaders and standbys as -many says on one host, a store after the
// other.
func many(ctx context.Context, b *bench, t []*table, contenders []contender) error {
	for _, each := range t {
		each.Rows = nil
	}
	for _, c := range contenders {
		m := &muster{b: b, c: c, t: t, store: b.servers[c.store].(breakable)}
		if err := m.run(ctx); err != nil {
			t[manyTimes].rowNamed(c, "all", "").Error = err.Error()
		}
	}
	return ctx.Err()
}

func (m *muster) run(ctx context.Context) (err error) {
	if m.gate, err = newTurnstile(m.c.store, m.b.addr(m.c.store)); err != nil {
		return err
	}
	defer m.gate.shut()
	if err := m.prefer(); err != nil {
		return err
	}
	if err := m.alone(ctx); err != nil {
		return err
	}
	if m.fleet, err = m.b.newFleet(m.c, m.gate.addr, m.b.many); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.fleet.leave(fleetStarts)) }()
	for _, step := range []func(context.Context) error{m.start, m.rest, m.brief, m.long} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prefer gives the store, and this program that stands before it, the processors that
// a machine of its own would have: among a thousand processes that want to run, a fair
// share is nothing, and the fleet would go down with it.
func (m *muster) prefer() error {
	return errors.Join(prefer(os.Getpid()), prefer(m.store.Pid(0)))
}

// alone measures what a fleet is compared with.
func (m *muster) alone(ctx context.Context) (err error) {
	f, err := m.b.newFleet(m.c, m.gate.addr, few)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.leave(patient)) }()
	err = errors.Join(f.join(ctx, leader, fleetStarts), f.join(ctx, standby, fleetStarts), pause(ctx, warm))
	if err != nil {
		return err
	}
	if err := m.memory(f); err != nil {
		return err
	}
	return m.cold(ctx, f)
}

func (m *muster) start(ctx context.Context) error {
	began := time.Now()
	for _, role := range []string{leader, standby} {
		since := time.Now()
		if err := m.fleet.join(ctx, role, fleetStarts); err != nil {
			return err
		}
		m.took(fmt.Sprintf("start of %d %ss", len(m.fleet.posts), role), time.Since(since))
	}
	m.rates("start", began, time.Now())
	return nil
}

func (m *muster) rest(ctx context.Context) error {
	if err := pause(ctx, warm); err != nil {
		return err
	}
	cpu, began := m.fleet.cpu(), time.Now()
	if err := pause(ctx, calm); err != nil {
		return err
	}
	_, asked := m.gate.between(began, time.Now())
	m.calm = mean(asked)
	m.rates("calm", began, time.Now())
	n := time.Duration(2 * len(m.fleet.posts))
	m.took("processor time of a candidate in a minute of calm", (m.fleet.cpu()-cpu)*(time.Minute/calm)/n)
	return errors.Join(m.memory(m.fleet), m.cold(ctx, m.fleet))
}

// brief takes the store away for so short a time that every command goes on.
func (m *muster) brief(ctx context.Context) error {
	before, err := m.fleet.look()
	if err != nil {
		return err
	}
	inside := m.gate.inside()
	back, err := m.outage(ctx, shortOutage)
	if err != nil {
		return err
	}
	err = until(ctx, "all to be connected again", fleetReady, func() (bool, error) { return m.gate.inside() >= inside, nil })
	if err != nil {
		return err
	}
	m.took("all connected after an outage of "+shortOutage.String(), time.Since(back))
	if err := pause(ctx, time.Until(back.Add(after))); err != nil {
		return err
	}
	m.rates("after "+shortOutage.String(), back, back.Add(after))
	switch now, err := m.fleet.look(); {
	case err != nil:
		return err
	case now != before:
		return fmt.Errorf("%d commands were stopped by an outage of %v", now-before, shortOutage)
	}
	return nil
}

// long takes the store away for longer than any lease.
func (m *muster) long(ctx context.Context) error {
	terms := map[*post]int{}
	for _, p := range m.fleet.posts {
		terms[p] = p.terms
	}
	back, err := m.outage(ctx, longOutage)
	if err != nil {
		return err
	}
	err = until(ctx, "leaders and standbys in all elections", fleetReady, func() (bool, error) { return m.fleet.inOrder(terms) })
	if err != nil {
		return err
	}
	m.took("all in order after an outage of "+longOutage.String(), time.Since(back))
	if err := pause(ctx, time.Until(back.Add(after))); err != nil {
		return err
	}
	m.rates("after "+longOutage.String(), back, back.Add(after))
	return nil
}

// outage returns when the store was back: then it serves.
func (m *muster) outage(ctx context.Context, d time.Duration) (back time.Time, err error) {
	m.fleet.forget()
	over := time.Now().Add(d)
	m.gate.shut()
	if err := m.store.Kill(0); err != nil {
		return back, err
	}
	if err := errors.Join(m.store.Restart(0), pause(ctx, time.Until(over))); err != nil {
		return back, err
	}
	return time.Now(), errors.Join(m.prefer(), m.gate.unshut())
}
