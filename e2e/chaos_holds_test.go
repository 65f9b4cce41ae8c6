//go:build linux

package e2e

import "time"

const (
	askEvery = 50 * time.Millisecond
	askBound = 700 * time.Millisecond // a node that does not answer by then is left for the next
)

// shown is who holds an election's lock, as the store says in one linearizable read;
// the zero value is nobody.
type shown struct {
	candidate string
	token     uint64
}

// An asker asks the store's nodes directly, past every proxy of a candidate.
type asker interface {
	// ask returns an error if no word was to be had, and then asks another node the
	// next time.
	ask() (shown, error)
	close()
}

// A holdWatcher notes who holds the lock, as the store shows it.
type holdWatcher struct {
	asker asker
	quit  chan struct{}
	done  chan struct{}
	holds []hold
}

// watchHolds begins to ask the election's store.
func watchHolds(e *election) *holdWatcher {
	w := &holdWatcher{asker: e.store.asker(e), quit: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

// stop ends the watch and returns the holds in their order.
func (w *holdWatcher) stop() []hold {
	close(w.quit)
	<-w.done
	return w.holds
}

func (w *holdWatcher) run() {
	defer close(w.done)
	defer w.asker.close()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		sent := now()
		if s, err := w.asker.ask(); err == nil {
			w.note(s, sent, now())
		}
		select {
		case <-ticker.C:
		case <-w.quit:
			return
		}
	}
}

// note takes in an answer: it was so at some moment between sent and answered.
func (w *holdWatcher) note(s shown, sent, answered instant) {
	var current *hold
	if n := len(w.holds); n > 0 && w.holds[n-1].gone == 0 {
		current = &w.holds[n-1]
	}
	if current != nil && current.token != s.token {
		current.gone = answered
		current = nil
	}
	if s == (shown{}) {
		return
	}
	if current == nil {
		w.holds = append(w.holds, hold{candidate: s.candidate, token: s.token, seen: answered})
		current = &w.holds[len(w.holds)-1]
	}
	current.last = sent
}
