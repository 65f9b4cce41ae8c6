//go:build linux

package e2e

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The virtual address is on one host at a time, also when its holder was killed
// with everything around it, and its neighbours find it where it is.
func recipeAddress(hosts recipeHosts) {
	t := hosts.t
	if _, err := exec.LookPath("arping"); err != nil {
		without(t, "arping", err)
	}
	hosts = newRecipeHosts(t, 2) // for this alone: one is cut off
	r := hosts.newRecipe(map[string]string{"billing": "#!/bin/sh\nexec sleep 1000\n"})
	at := net.ParseIP(r.hosts[0].Addr()).To4()
	at[3] += 13 // the last of the network: Addr is the first
	address := at.String()
	for _, h := range r.hosts {
		h.has("virtual-address", strings.ReplaceAll(readFile("../examples/recipes/virtual-address"), "10.0.0.100", address))
	}
	line := r.text("A virtual address, for a service that every host could give:")
	v := &virtualAddress{t: t, address: address, hosts: r.hosts}
	v.watch()

	a := r.run(r.hosts[0], line)
	v.comesTo(0, patient)
	b := r.run(r.hosts[1], line)
	v.stays(0, 5*time.Second) // longer than the kernel would leave it

	// Told to stop.
	asked := now()
	a.signal(t, unix.SIGTERM)
	v.comesTo(1, 5*time.Second)
	t.Logf("stopped: %v", now().since(asked))
	a.exits(t, 128+15, prompt)

	// Killed: nobody takes the address away.
	a = r.run(r.hosts[0], line)
	pass(time.Second)
	asked = now()
	b.signal(t, unix.SIGKILL)
	v.comesTo(0, patient)
	t.Logf("killed: %v", now().since(asked))

	// With all there is of leaderrun.
	b = r.run(r.hosts[1], line)
	pass(time.Second)
	asked = now()
	kill(t, unix.SIGKILL, familyOf(t, a.pid)...)
	v.comesTo(1, 2*patient)
	t.Logf("all killed: %v", now().since(asked))

	// Cut off: --on-lost does not run.
	r.run(r.hosts[0], line)
	pass(time.Second)
	asked = now()
	must(t, r.hosts[1].Drop())
	v.comesTo(0, 2*patient)
	t.Logf("cut off: %v", now().since(asked))
	must(t, r.hosts[1].Heal())
	v.stays(0, 2*time.Second)
	if log := readFile(b.log); !strings.Contains(log, "hook skipped") {
		t.Errorf("--on-lost was not skipped:\n%s", log)
	}
}

// familyOf returns a process and all its descendants.
func familyOf(t testing.TB, pid int) []int {
	t.Helper()
	all := []int{pid}
	for _, p := range childrenOf(t, pid) {
		all = append(all, familyOf(t, p.pid)...)
	}
	return all
}

// A virtualAddress is watched on the hosts that may have it.
type virtualAddress struct {
	t       *testing.T
	address string
	hosts   []*recipeHost
}

// has asks the host's kernel.
func (v *virtualAddress) has(h *recipeHost) bool {
	out, err := h.Command("ip", "-oneline", "address", "show", "to", v.address+"/32").CombinedOutput()
	if err != nil {
		v.t.Errorf("%s: %v: %s", h.name, err, out)
	}
	return len(out) > 0
}

// watch fails the test if two hosts have the address at once.
func (v *virtualAddress) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			// The other order would see one that moved meanwhile twice.
			if v.has(v.hosts[0]) && v.has(v.hosts[1]) && v.has(v.hosts[0]) {
				v.t.Error("both hosts have the address")
			}
		}
	}()
	v.t.Cleanup(func() { cancel(); <-done })
}

// comesTo waits until a neighbour, who has known where it was before, finds the address
// at that host.
func (v *virtualAddress) comesTo(host int, limit time.Duration) {
	v.t.Helper()
	h := v.hosts[host]
	waitFor(v.t, "the address to be at "+h.name, limit, func() bool { return v.has(h) && v.reached(h) })
}

// stays asserts that the host has it for d without a break.
func (v *virtualAddress) stays(host int, d time.Duration) {
	v.t.Helper()
	staysTrue(v.t, "the address is at "+v.hosts[host].name, d, func() bool { return v.has(v.hosts[host]) })
}

// reached reports whether what is sent to the address comes to that host. Nothing
// listens there: to be refused is an answer.
func (v *virtualAddress) reached(h *recipeHost) bool {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(v.address, "9"), time.Second)
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return false
	}
	link, err := h.Command("ip", "-brief", "link", "show", "eth0").Output()
	must(v.t, err)
	entry, err := exec.Command("ip", "neigh", "show", "to", v.address).Output()
	must(v.t, err)
	return strings.Contains(string(entry), strings.Fields(string(link))[2])
}
