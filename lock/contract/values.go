package contract

import (
	"bytes"
	"errors"
	"time"

	"leaderrun/lock"
)

// values: the holder writes, everyone reads.
func values(p *place) {
	other := p.connect().Locker(p.election)
	if v, err := other.Get(p.Context(), "key"); v != nil || err != nil {
		p.Errorf("value that never was: %q, %v", v, err)
	}
	l := p.lead("a")
	if v, err := other.Get(p.Context(), "key"); v != nil || err != nil {
		p.Errorf("value that never was: %q, %v", v, err)
	}
	for _, want := range [][]byte{[]byte("one"), []byte("two"), {0, 255, '\n', '"'}, {}, bytes.Repeat([]byte("x"), 2000)} {
		p.must(l.Put(p.Context(), "key", want))
		if got, err := other.Get(p.Context(), "key"); err != nil || !bytes.Equal(got, want) {
			p.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	p.must(l.Put(p.Context(), "another", []byte("1")))
	p.release(l)
	next := p.lead("b")
	p.must(next.Put(p.Context(), "another", []byte("2")))
	if v, err := other.Get(p.Context(), "key"); err != nil || len(v) != 2000 {
		p.Errorf("after the tenure: %d bytes, %v", len(v), err)
	}
	if v, err := other.Get(p.Context(), "another"); err != nil || string(v) != "2" {
		p.Errorf("another: %q, %v", v, err)
	}
}

// valuesOfATenure: a holder that does not know yet that another leads changes
// nothing.
func valuesOfATenure(p *place) {
	a := p.start(p.store, p.candidate("a"))
	l := a.wins(patient)
	p.must(l.Put(p.Context(), "key", []byte("a")))
	p.must(p.connect().Release(p.Context(), <-a.queued))
	next := p.start(p.connect(), p.candidate("b")).wins(prompt)
	p.must(next.Put(p.Context(), "key", []byte("b")))
	if err := l.Put(p.Context(), "key", []byte("a again")); !errors.Is(err, lock.ErrLost) {
		p.Errorf("put of a lost tenure: %v, want ErrLost", err)
	}
	if v, err := p.locker().Get(p.Context(), "key"); err != nil || string(v) != "b" {
		p.Errorf("value: %q, %v", v, err)
	}
}

// requests: they reach the tenure that is asked, and no other.
func requests(p *place) {
	first := p.lead("a")
	other := p.connect().Locker(p.election)
	ask := func(token lock.Token, arg string) lock.Request {
		p.Helper()
		r := lock.Request{Token: token, Action: "step-down", Arg: arg}
		p.must(other.Ask(p.Context(), r))
		return r
	}
	never := func(what string, l lock.Lease) {
		p.Helper()
		select {
		case r := <-l.Requests():
			p.Errorf("%s got %+v", what, r)
		case <-time.After(300 * time.Millisecond):
		}
	}
	ask(first.Token()+1, "to nobody")
	never("the holder", first)
	for _, arg := range []string{"", "2", "2"} { // an equal one is another one
		want := ask(first.Token(), arg)
		if got := within(p, "the request", prompt, first.Requests()); got != want {
			p.Errorf("got %+v, want %+v", got, want)
		}
	}
	never("the holder", first)

	ask(first.Token(), "late")
	p.release(first)
	next := p.lead("b")
	never("the next holder", next)
	want := ask(next.Token(), "now")
	if got := within(p, "the request", prompt, next.Requests()); got != want {
		p.Errorf("got %+v, want %+v", got, want)
	}
}
