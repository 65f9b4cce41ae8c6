//go:build unix

package guard

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// bury ends a guard that is dead or does not answer, and then what it leaves:
// its orphans become our children before it can be reaped, not before.
func (g *Guard) bury() Result {
	g.end()
	told := false
	for pass, clean := 1, 0; clean < 2; pass++ {
		g.cgroup.end()
		reaping.Lock()
		found, denied, err := killBelow(g.foreign, g.group)
		reapChildren(found)
		reaping.Unlock()
		clean++ // a listing can miss one child while another ends
		if err != nil || len(found) > 0 || g.cgroup.populated() {
			clean = 0
		}
		if denied != nil && !told && g.spec.Unkillable != nil {
			told = true
			g.spec.Unkillable(denied.pid, syscall.EPERM)
		}
		<-time.After(min(time.Duration(pass)*time.Millisecond, 20*time.Millisecond))
	}
	if g.group != 0 {
		returnTerminal(g.group, syscall.Getpgrp())
	}
	g.clear()
	return Result{Cause: GuardDied, Status: syscall.WaitStatus(syscall.SIGKILL)}
}

func reapChildren(found []process) {
	for _, p := range found {
		if p.parent == os.Getpid() {
			_, _ = syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// Dismiss ends a guard that has nothing to guard: its tree is dead or was
// never started, and its ticket is given back.
func (g *Guard) Dismiss() {
	g.kill() // the two die at once
	<-g.beside
	g.sentinel.kill()
	g.end()
	g.clear()
}

// Abandon leaves the guard to give the ticket back and end by itself.
func (g *Guard) Abandon() {
	_ = g.control.Close()
	go func() {
		g.wait()
		g.clear()
	}()
}

// end kills the guard; once it was reaped, its pid may be another's.
func (g *Guard) end() {
	g.kill()
	g.wait()
}

func (g *Guard) kill() {
	if !g.reaped.Load() {
		_ = syscall.Kill(g.pid, syscall.SIGKILL)
	}
}

func (g *Guard) wait() {
	g.ended.Do(func() {
		for err := error(syscall.EINTR); errors.Is(err, syscall.EINTR); {
			_, err = syscall.Wait4(g.pid, nil, 0, nil)
		}
		g.reaped.Store(true)
		forget(g.pid)
		_ = g.control.Close()
	})
}

// clear takes away what was there for the tree, which is dead.
func (g *Guard) clear() {
	g.cleared.Do(func() {
		<-g.beside
		g.sentinel.kill()
		g.sentinel.wait()
		reapDead()
		g.cgroup.remove()
	})
}
