//go:build unix

package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/stores"
	"leaderrun/supervisor"
	"leaderrun/supervisor/guard"
)

// runCommand campaigns and runs the command; the error is for what is found
// before campaigning, and after that the log has told it.
func runCommand(o *options, command []string) (int, error) {
	level, err := logLevel(o.logLevel)
	if err = errors.Join(err, checkFormat(o.logFormat)); err != nil {
		return 0, err
	}
	settings, err := o.settings()
	if err != nil {
		return 0, err
	}
	if err = outsideItself(settings.URL, o.name); err != nil {
		return 0, err
	}
	if err = guard.Supported(); err != nil {
		return 0, fmt.Errorf("%w: %w", lock.ErrConfig, err)
	}
	path, err := lookPath(command[0])
	if err != nil {
		return 0, notExecutable(command[0], err)
	}
	var listener *latest
	if o.listen != "" {
		if listener, err = listen(o.listen); err != nil {
			return 0, err
		}
	}
	store, err := stores.Open(settings)
	if err != nil {
		return 0, err
	}
	defer func() { _ = store.Close() }()

	host, _ := os.Hostname()
	if o.id == "" {
		o.id = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	queue := newLogQueue(o.logFormat, writeStderr)
	defer queue.flush()
	log := o.logger(queue, level, settings.URL)
	if settings.URL.Scheme == "file" {
		log.Info("file store: the election is among processes of this host only")
	}
	n := &narrator{log: log}
	p := newPulse()
	all := listeners{n.tell, p.tell}
	service := newNotifier(o, p)
	if service != nil {
		all = append(all, service.tell)
	}
	if listener != nil {
		m := newMetrics(o, settings.URL, queue.dropped.Load)
		all = append(all, m.tell)
		level := slog.LevelInfo
		if strings.HasSuffix(o.listen, ":0") { // nobody else can tell the port
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "listening", "address", listener.Addr().String())
		go serve(listener, routes(m, p))
	}
	out := supervisor.Run(supervisor.Config{
		Locker: store.Locker(o.name),
		Candidate: lock.Candidate{
			ID: o.id, Host: host, PID: os.Getpid(), TTL: time.Duration(o.ttl), Try: o.try,
			Grace: time.Duration(o.lossGrace), GraceYields: o.defaultGrace,
		},
		Path: path, Argv: command,
		Env:     func(t lock.Token) []string { return childVariables(o, settings.URL, t) },
		Mark:    func(t lock.Token) string { return mark(settings.URL, o.name, t) },
		Ticket:  func(t lock.Ticket) ([]byte, error) { return json.Marshal(o.ticket(settings, t)) },
		Job:     o.job(),
		Restart: supervisor.Restart{Policy: supervisor.RestartPolicy(o.restart), Limit: o.restartLimit},
		Health:  o.health(),
		Hooks:   supervisor.Hooks{OnElected: o.onElected, OnLost: o.onLost, Timeout: time.Duration(o.hookTimeout)},
		Seat:    markPrefix(settings.URL, o.name) + o.onceFor,
		Wait:    time.Duration(o.wait), ExitOnLoss: o.exitOnLoss,
		StopSignal: syscall.Signal(o.stopSignal), StopTimeout: time.Duration(o.stopTimeout),
		Listen: all.tell,
	})
	service.leave()
	status := n.conclude(out, o)
	if out.Interrupt {
		queue.flush()
		dieOfInterrupt()
	}
	return status, nil
}

// listeners hear of every event, one after the other.
type listeners []func(supervisor.Event)

func (l listeners) tell(e supervisor.Event) {
	for _, listen := range l {
		listen(e)
	}
}

// dieOfInterrupt ends this process as Ctrl-C does; a shell shows 130 all the
// same, and ends the script or loop that it runs.
func dieOfInterrupt() {
	signal.Reset(syscall.SIGINT)
	_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	<-time.After(time.Second)
}

func (o *options) logger(queue *logQueue, level slog.Level, store lock.URL) *slog.Logger {
	log := newLogger(queue, o.logFormat, level, o.name).With("candidate", o.id, "store", store.String(), "version", version)
	for key, value := range o.labels {
		log = log.With(key, value)
	}
	return log
}

// childVariables are added to the child's environment.
func childVariables(o *options, store lock.URL, t lock.Token) []string {
	within := mark(store, o.name, t)
	if outer := os.Getenv(guard.MarkVariable); outer != "" {
		within = outer + " " + within
	}
	return append(o.withoutJob(), []string{
		"LEADERRUN_ELECTION=" + o.name,
		"LEADERRUN_CANDIDATE=" + o.id,
		fmt.Sprintf("LEADERRUN_FENCING_TOKEN=%d", t),
		guard.MarkVariable + "=" + within,
	}...)
}

// mark names one tenure of one election of one store, in one word.
func mark(store lock.URL, name string, t lock.Token) string {
	return fmt.Sprintf("%s%d", markPrefix(store, name), t)
}

func markPrefix(store lock.URL, name string) string {
	return url.QueryEscape(store.String()) + "#" + url.QueryEscape(name) + "#"
}

// maxMarks bounds a variable that has to fit the guard's pipe.
const maxMarks = 8 << 10

// outsideItself refuses to campaign inside a job of the same election, which
// would wait for its own parent to end.
func outsideItself(store lock.URL, name string) error {
	if len(os.Getenv(guard.MarkVariable)) > maxMarks {
		return usagef("%s is longer than %d bytes: leaderrun runs too deep inside itself", guard.MarkVariable, maxMarks)
	}
	for m := range strings.FieldsSeq(os.Getenv(guard.MarkVariable)) {
		if strings.HasPrefix(m, markPrefix(store, name)) {
			return usagef("--name %q: this command runs inside a job of the same election and would wait for itself: take another --name", name)
		}
	}
	return nil
}

// lookPath finds the executable as a shell does, before campaigning: a standby
// that could not run its command would be none.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrDot): // the user's PATH says so
		return path, nil
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("not found in PATH: %w", fs.ErrNotExist)
	}
	if e := (*exec.Error)(nil); errors.As(err, &e) {
		err = e.Err // without the name, which the caller gives
	}
	return path, err
}
