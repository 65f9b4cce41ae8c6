//go:build unix

package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"leaderrun/lock"
)

// What a client of --listen may take. Whatever they do, they hold no more than so many
// descriptors, cause no more work than so many requests a second, and take no lock
// for which an event would wait.
const (
	mostConnections = 64
	betweenAccepts  = 500 * time.Microsecond
	mayCatchUp      = mostConnections / 2 * betweenAccepts // after something kept it from running
	requestTimeout  = 3 * time.Second                      // to say what one wants, and again to take the answer
	mostHeader      = 4 << 10
)

// checkListen reads --listen and what depends on it. A host that was left out is this
// host's loopback.
func (o *options) checkListen() error {
	if o.listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(o.listen)
	if host == "" || host == "localhost" {
		host = "127.0.0.1"
	}
	addr, perr := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if cmp.Or(err, perr) != nil {
		return usagef("--listen %q is no address: write it like :9000 (loopback), 10.0.0.1:9000, 0.0.0.0:9000 (all) or [::1]:9000", o.listen)
	}
	o.listen = addr.String()
	return checkLabels(o.labels)
}

// listen takes the address of --listen.
func listen(address string) (*latest, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return &latest{Listener: l, most: affordable()}, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, notNow(fmt.Errorf("--listen %s: the port is in use: take another one, or 0 for any", address))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, notNow(fmt.Errorf("--listen %s: this host has no such address: take one of its own", address))
	}
	return nil, fmt.Errorf("%w: --listen %s: take another address: %w", lock.ErrConfig, address, err)
}

// notNow is of what may go by itself: a port is given back, an address comes. systemd
// is to try again.
func notNow(err error) error { return statusError{exitUnavailable, err} }

// affordable is how many connections leave enough descriptors to a supervisor.
func affordable() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 1
	}
	return int(max(1, min(mostConnections, l.Cur/4)))
}

// latest has the latest connections only: the oldest makes room for a new one. So
// nobody can keep others away by holding connections, as with a limit by which new
// ones wait.
type latest struct {
	net.Listener
	most int
	next time.Time // when one more may be let in
	mu   sync.Mutex
	open []net.Conn // the oldest first
}

func (l *latest) Accept() (net.Conn, error) {
	if late := time.Now().Add(-mayCatchUp); l.next.Before(late) {
		l.next = late
	}
	l.next = l.next.Add(betweenAccepts)
	<-time.After(time.Until(l.next)) // or those who lose their place would come again at once
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) == l.most {
		_ = l.open[0].Close()
		l.open = slices.Delete(l.open, 0, 1)
	}
	l.open = append(l.open, c)
	return c, nil
}

// forget is told of each connection what becomes of it.
func (l *latest) forget(c net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open = slices.DeleteFunc(l.open, func(o net.Conn) bool { return o == c })
	}
}

// serve answers at --listen until the process ends, which waits for nobody.
func serve(l *latest, h http.Handler) {
	s := &http.Server{
		Handler: h, DisableGeneralOptionsHandler: true, MaxHeaderBytes: mostHeader,
		ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, ConnState: l.forget,
	}
	s.SetKeepAlivesEnabled(false) // each request is one of the connections that are let in
	_ = s.Serve(l)
}

// routes are what can be asked.
func routes(m *metrics, p *pulse) http.Handler {
	mux := http.NewServeMux() // GET is HEAD, too; 404 and 405 are its own
	mux.HandleFunc("GET /leader", func(w http.ResponseWriter, _ *http.Request) {
		words, serves := m.standsAs()
		respond(w, serves, words)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if p.beats() {
			respond(w, true, "campaigning or leading goes on")
		} else {
			respond(w, false, "stuck: no renewal and no attempt at one for too long")
		}
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(m.expose())
	})
	return mux
}

// respond is one line for people and a status for programs.
func respond(w http.ResponseWriter, good bool, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if !good {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = io.WriteString(w, line+"\n")
}
