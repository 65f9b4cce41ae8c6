package servers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Netns is a second host, as far as the network goes: a network namespace with
// one cable to this one. Cutting it loses packets without a reset.
//
// The name of this end of the cable is the number of its /30 in 10.231.0.0/17, so
// that the kernel itself keeps two tests off the same addresses. The namespace's
// name ends in the process id of its maker: one whose maker is gone is removed by
// the next test that makes one.
type Netns struct {
	name, cable string
	root, here  string // addresses of the two ends
}

const netnsPrefix = "leaderrun-"

// Only the iptables of the namespace are touched: those of the machine are its own.
var (
	dropIn  = []string{"-A", "INPUT", "-i", "eth0", "-j", "DROP"}
	dropOut = []string{"-A", "OUTPUT", "-o", "eth0", "-j", "DROP"}
)

// NewNetns makes a namespace that ends with the test.
func NewNetns(t testing.TB) *Netns {
	t.Helper()
	Require(t, "netns")
	n, err := newNetns()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.remove(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func newNetns() (*Netns, error) {
	sweepNetns()
	for range 100 {
		i := rand.IntN(1 << 13)
		n := &Netns{
			name:  fmt.Sprintf("%s%d-%d", netnsPrefix, i, os.Getpid()),
			cable: "leaderrun" + strconv.Itoa(i), // 15 bytes at most: IFNAMSIZ
			root:  fmt.Sprintf("10.231.%d.%d", i>>6, i&63<<2+1),
			here:  fmt.Sprintf("10.231.%d.%d", i>>6, i&63<<2+2),
		}
		if err := n.create(); err == nil {
			return n, nil
		} else if !strings.Contains(err.Error(), "File exists") {
			return nil, err
		}
	}
	return nil, errors.New("make a network namespace: no addresses left")
}

func (n *Netns) create() error {
	if err := ip("", "netns", "add", n.name); err != nil {
		return err
	}
	err := ip(fmt.Sprintf(`
		link add %[1]s type veth peer name eth0 netns %[2]s
		address add %[3]s/30 dev %[1]s
		link set %[1]s up
	`, n.cable, n.name, n.root), "-batch", "-")
	if err == nil {
		err = ip(fmt.Sprintf(`
			link set lo up
			address add %s/30 dev eth0
			link set eth0 up
		`, n.here), "-netns", n.name, "-batch", "-")
	}
	if err != nil {
		return errors.Join(err, n.remove())
	}
	return nil
}

// remove ends the cable with the namespace. Processes inside, which would keep
// both, are their makers' to end first.
func (n *Netns) remove() error { return ip("", "netns", "delete", n.name) }

// Addr returns this side's address: let the server listen here.
func (n *Netns) Addr() string { return n.root }

// InnerAddr returns the address inside.
func (n *Netns) InnerAddr() string { return n.here }

// Command returns a command that will run inside, as the process that is started
// and not a child of it. It is nsenter and not `ip netns exec`, which besides
// mounts a /sys without cgroups.
func (n *Netns) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + n.name, "--", name}, args...)...)
}

// Drop loses every packet in both directions.
func (n *Netns) Drop() error { return errors.Join(n.DropIn(), n.DropOut()) }

// DropIn loses what comes to the namespace.
func (n *Netns) DropIn() error { return n.iptables(dropIn...) }

// DropOut loses what leaves the namespace.
func (n *Netns) DropOut() error { return n.iptables(dropOut...) }

// Heal undoes them all.
func (n *Netns) Heal() error { return n.iptables("-F") }

func (n *Netns) iptables(args ...string) error {
	cmd := n.Command("iptables", append([]string{"-w"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func ip(input string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// sweepNetns removes the namespaces of SIGKILLed tests.
func sweepNetns() {
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), netnsPrefix)
		_, maker, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(maker)
		if ours && err == nil && !alive(pid) {
			_ = ip("", "netns", "delete", e.Name()) // another test may be at it too
		}
	}
}

// probeNetns makes one and cuts it: root in a container may do neither.
func probeNetns() error {
	if runtime.GOOS != "linux" {
		return errors.New("network namespaces are Linux's")
	}
	if os.Geteuid() != 0 {
		return errors.New("it takes root")
	}
	for _, name := range []string{"ip", "iptables", "nsenter"} {
		if _, err := exec.LookPath(name); err != nil {
			return err
		}
	}
	n, err := newNetns()
	if err != nil {
		return err
	}
	return errors.Join(n.Drop(), n.remove())
}
