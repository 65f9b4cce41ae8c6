package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// StartDetachedEtcd is RunEtcd for a cluster that is to outlive this process. o.Dir
// remembers what was started, for StopDetached.
func StartDetachedEtcd(ctx context.Context, o EtcdOptions) (*Etcd, error) {
	if err := mayDetach(o.Dir); err != nil {
		return nil, err
	}
	o.detached = true
	return RunEtcd(ctx, o)
}

// StartDetachedConsul is RunConsul in the same way.
func StartDetachedConsul(ctx context.Context, o ConsulOptions) (*Consul, error) {
	if err := mayDetach(o.Dir); err != nil {
		return nil, err
	}
	o.detached = true
	return RunConsul(ctx, o)
}

// StartDetachedZooKeeper is RunZooKeeper in the same way.
func StartDetachedZooKeeper(ctx context.Context, o ZooKeeperOptions) (*ZooKeeper, error) {
	if err := mayDetach(o.Dir); err != nil {
		return nil, err
	}
	o.detached = true
	return RunZooKeeper(ctx, o)
}

func mayDetach(dir string) error {
	if dir == "" {
		return errors.New("a server that is left running needs a directory")
	}
	running, err := recorded(dir)
	if err != nil {
		return err
	}
	if len(running) > 0 {
		return fmt.Errorf("servers started earlier still run in %s: stop them first", dir)
	}
	return nil
}

// pidFile holds a line for each process: its number, and what tells it from a
// later one of the same number.
func pidFile(dir string) string { return filepath.Join(dir, "pids") }

func recordPid(dir string, pid int) error {
	id, err := identity(pid)
	if err != nil {
		return fmt.Errorf("identify %d: %w", pid, err)
	}
	f, err := os.OpenFile(pidFile(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "%d %s\n", pid, id); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// recorded returns those of the directory's processes that still run.
func recorded(dir string) ([]*os.Process, error) {
	data, err := os.ReadFile(pidFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var list []*os.Process
	for line := range strings.Lines(string(data)) {
		number, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, err := strconv.Atoi(number)
		if err != nil || pid <= 1 {
			return nil, fmt.Errorf("%s: bad line %q", pidFile(dir), line)
		}
		// On Linux the handle is a pidfd: taken before the comparison, it
		// cannot come to mean another process after it.
		p, err := os.FindProcess(pid)
		if err != nil {
			return nil, err
		}
		if id, err := identity(pid); err == nil && id == want {
			list = append(list, p)
		}
	}
	return list, nil
}

// StopDetached ends what was left running with this directory and nothing else:
// with SIGTERM, and with SIGKILL what is still there after two seconds, for members
// of a cluster that end together look in vain for somebody to hand leadership to.
func StopDetached(ctx context.Context, dir string) error {
	list, err := recorded(dir)
	if err != nil {
		return err
	}
	for _, p := range list {
		_ = terminate(p) // it may be gone by now
	}
	patience, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		left, err := recorded(dir)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			break
		}
		if pause(patience, 20*time.Millisecond) == nil {
			continue
		}
		for _, p := range left {
			_ = p.Kill()
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("stop the servers in %s: %w", dir, err)
		}
	}
	err = os.Remove(pidFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no server was started in %s", dir)
	}
	return err
}
