package servers

import (
	"os"
	"os/exec"
	"runtime"
)

// A process is a server that this process started and reaps.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it has been reaped
}

// startProcess starts cmd in a process group of its own. Unless it is detached
// it dies with this process, however that ends.
//
// The parent-death signal fires when the *thread* that forked ends, which Go's
// threads may do at any time (prctl(2)). Hence a goroutine that holds its thread
// for as long as the server lives.
func startProcess(cmd *exec.Cmd, detached bool) (*process, error) {
	cmd.SysProcAttr = sysProcAttr(detached)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = cmd.Wait() // ended by a signal, mostly: the status says nothing
		close(p.done)
	}()
	return p, <-started
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process, a stopped one too, and waits until it is reaped.
// SIGKILL needs no bound: etcd never waits in the kernel for long.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(os.Kill)
	<-p.done
}
