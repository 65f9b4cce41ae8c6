//go:build linux

// Command child is the misbehaving program that the end-to-end tests run under
// leaderrun. It proves when it lived: it appends a beat to a file each
// millisecond, and so do the processes that it leaves behind on request. A test
// that reads the beats knows who was alive when, and guesses nothing.
//
// It ends by itself after --life at the latest, so that a broken leaderrun does
// not leave it on the machine for ever.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Roles: the process that leaderrun started, its plain child, and the daemon
// with the middle process of its double fork.
const (
	roleMain   = "main"
	roleFork   = "fork"
	roleMiddle = "middle"
	roleDaemon = "daemon"
	roleHopper = "hopper" // see storm.go
)

type options struct {
	beats      string
	role       string
	life       time.Duration
	after      time.Duration
	fork       bool
	daemon     bool
	burn       bool
	stop       bool
	storm      bool
	user       int
	ignoreTerm bool
	echoStdin  bool
	logSignals string
	logRuns    string
	signal     string
	exit       int
	termExit   int
	printFD    int
	serve      string
}

func main() {
	o := parse()
	become(o.user)
	noteRun(o, "begin")
	catchSignals(o)
	if o.role == roleMiddle {
		start(o, roleDaemon)
		return
	}
	if o.role == roleHopper {
		hop(o)
		return
	}
	if o.role == roleMain {
		misbehave(o)
	}
	if o.beats != "" {
		go beat(o)
	}
	if o.role == roleMain {
		obey(o)
	}
	time.Sleep(o.life)
}

func parse() options {
	var o options
	flag.StringVar(&o.beats, "beats", "", "append a line to `FILE` each millisecond")
	flag.StringVar(&o.role, "role", roleMain, "which process of the tree this is (internal)")
	flag.DurationVar(&o.life, "life", 5*time.Minute, "end after this at the latest")
	flag.DurationVar(&o.after, "after", 0, "wait so long before --exit or --signal")
	flag.BoolVar(&o.fork, "fork", false, "start a plain child that beats too")
	flag.BoolVar(&o.daemon, "daemon", false, "leave a daemon behind (two forks and setsid) that beats too")
	flag.BoolVar(&o.burn, "burn", false, "keep a processor busy")
	flag.BoolVar(&o.stop, "stop", false, "stop its main process, as by SIGSTOP, once the others are started")
	flag.BoolVar(&o.storm, "storm", false, "start four plain children and a process that forks itself and ends, and so on, every five milliseconds")
	flag.IntVar(&o.user, "user", 0, "become this user, if not 0")
	flag.BoolVar(&o.ignoreTerm, "ignore-term", false, "survive HUP, INT, QUIT and TERM")
	flag.BoolVar(&o.echoStdin, "echo-stdin", false, "copy standard input to standard output, then exit 0")
	flag.StringVar(&o.logSignals, "log-signals", "", "append each signal received to `FILE`; HUP is then only logged")
	flag.StringVar(&o.logRuns, "log-runs", "", "append a line to `FILE` at the beginning and before --exit")
	flag.StringVar(&o.signal, "signal", "", "kill itself with this signal (SEGV, KILL, ...)")
	flag.IntVar(&o.exit, "exit", -1, "exit with this status")
	flag.IntVar(&o.termExit, "term-exit", -1, "exit with this status on HUP, INT, QUIT or TERM, instead of dying of it")
	flag.IntVar(&o.printFD, "print-fd", -1, "copy this descriptor to standard output, then exit 0")
	flag.StringVar(&o.serve, "serve", "", "answer HTTP at `ADDRESS` with the fencing token and the candidate")
	flag.Parse()
	return o
}

// misbehave leaves the processes that were asked for and waits for none of them
// but the middle one, as a daemon's starter does.
func misbehave(o options) {
	if o.fork {
		start(o, roleFork)
	}
	if o.daemon {
		if err := start(o, roleMiddle).Wait(); err != nil {
			fail("the daemon's middle process", err)
		}
	}
	if o.storm {
		for range 4 {
			start(o, roleFork)
		}
		start(o, roleHopper)
	}
	if o.burn {
		go func() {
			for turns := 0; ; {
				turns++
			}
		}()
	}
	if o.stop {
		time.AfterFunc(50*time.Millisecond, func() { _ = unix.Kill(os.Getpid(), unix.SIGSTOP) })
	}
}

// become drops what a service drops that root starts: for good, with its groups.
func become(user int) {
	if user == 0 {
		return
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(user), syscall.Setuid(user)); err != nil {
		fail("become another user", err)
	}
}

func start(o options, role string) *exec.Cmd {
	args := []string{
		"--role", role, "--beats", o.beats, "--life", o.life.String(),
		"--ignore-term=" + strconv.FormatBool(o.ignoreTerm), "--log-signals", o.logSignals,
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0] // tests find processes by it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: role == roleMiddle}
	if err := cmd.Start(); err != nil {
		fail("start "+role, err)
	}
	return cmd
}

// obey does what ends the main process.
func obey(o options) {
	switch {
	case o.echoStdin:
		copyOut(os.Stdin)
	case o.printFD >= 0:
		copyOut(os.NewFile(uintptr(o.printFD), "inherited"))
	case o.serve != "":
		go serve(o.serve)
	case o.exit >= 0 && o.termExit < 0:
		time.Sleep(o.after)
		noteRun(o, "end")
		os.Exit(o.exit)
	case o.signal != "":
		time.Sleep(o.after)
		dieOf(unix.SignalNum("SIG" + o.signal))
	}
}

func copyOut(f *os.File) {
	if _, err := io.Copy(os.Stdout, f); err != nil {
		fail("copy "+f.Name(), err)
	}
	os.Exit(0)
}

func fail(doing string, err error) {
	fmt.Fprintf(os.Stderr, "child: %s: %v\n", doing, err)
	os.Exit(99)
}
