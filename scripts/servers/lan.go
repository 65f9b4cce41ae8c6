package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// A lan is a network of hosts, one for each node of a cluster, that this host is on
// too. Hosts are network namespaces, as in Netns. The switch is a namespace of its own
// and not a bridge on this host: where br_netfilter is loaded, as by Docker, this
// host's FORWARD chain would judge what one node sends to another.
//
// A lan is a /28 in the upper half of 10.231.0.0/16, and the name of this host's
// cable the number of it, as Netns has it with the lower half.
type lan struct {
	number int
	root   string // this host's address
	swtch  *Netns
	hosts  []*Netns
}

const lanCable = "leaderrunL" // and a number: 15 bytes at most

// maxHosts is what a /28 has beside this host and the two addresses nobody may have.
const maxHosts = 13

func newLan(hosts int) (*lan, error) {
	if hosts > maxHosts {
		return nil, fmt.Errorf("make a network of %d hosts: %d at most", hosts, maxHosts)
	}
	sweepNetns()
	for range 100 {
		l := &lan{number: rand.IntN(1 << 11)}
		err := l.create(hosts)
		if err == nil {
			return l, nil
		}
		err = errors.Join(err, l.remove())
		if !strings.Contains(err.Error(), "File exists") {
			return nil, fmt.Errorf("make a network of %d hosts: %w", hosts, err)
		}
	}
	return nil, errors.New("make a network of hosts: no addresses left")
}

// addr is the i-th address, from 1.
func (l *lan) addr(i int) string {
	return fmt.Sprintf("10.231.%d.%d", 128+l.number>>4, l.number&15<<4+i)
}

func (l *lan) netns(role string) (*Netns, error) {
	n := &Netns{name: fmt.Sprintf("%sL%d%s-%d", netnsPrefix, l.number, role, os.Getpid())}
	return n, ip("", "netns", "add", n.name)
}

func (l *lan) create(hosts int) (err error) {
	s, err := l.netns("s")
	if err != nil {
		return err // another's, which is not to be removed
	}
	l.root, l.swtch = l.addr(1), s
	cable := fmt.Sprintf("%s%d", lanCable, l.number)
	if err := ip(fmt.Sprintf(`
		link add %[1]s type veth peer name root netns %[2]s
		address add %[3]s/28 dev %[1]s
		link set %[1]s up
	`, cable, s.name, l.root), "-batch", "-"); err != nil {
		return err
	}
	if err := ip(`
		link add br0 type bridge
		link set br0 up
		link set root master br0 up
	`, "-netns", s.name, "-batch", "-"); err != nil {
		return err
	}
	for i := range hosts {
		if err := l.plugIn(i); err != nil {
			return err
		}
	}
	return nil
}

func (l *lan) plugIn(i int) error {
	n, err := l.netns(fmt.Sprintf("n%d", i))
	if err != nil {
		return err
	}
	n.root, n.here = l.root, l.addr(i+2)
	l.hosts = append(l.hosts, n)
	if err := ip(fmt.Sprintf(`
		link add port%[1]d type veth peer name eth0 netns %[2]s
		link set port%[1]d master br0 up
	`, i, n.name), "-netns", l.swtch.name, "-batch", "-"); err != nil {
		return err
	}
	return ip(fmt.Sprintf(`
		link set lo up
		address add %s/28 dev eth0
		link set eth0 up
	`, n.here), "-netns", n.name, "-batch", "-")
}

// remove wants the processes inside gone. The cables end with the namespaces.
func (l *lan) remove() error {
	var errs []error
	for _, n := range l.hosts {
		errs = append(errs, n.remove())
	}
	if l.swtch != nil {
		errs = append(errs, l.swtch.remove())
	}
	l.hosts, l.swtch = nil, nil
	return errors.Join(errs...)
}

// NewHosts makes hosts on one network, which this host is on too, that end with the
// test. Servers for them listen on Addr, which is the same for all.
func NewHosts(t testing.TB, hosts int) []*Netns {
	t.Helper()
	Require(t, "netns")
	l, err := newLan(hosts)
	if err != nil {
		t.Fatal(err)
	}
	all := l.hosts
	t.Cleanup(func() {
		if err := l.remove(); err != nil {
			t.Error(err)
		}
	})
	return all
}
