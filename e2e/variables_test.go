//go:build linux

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The variables that etcdctl and consul take are enough to reach the store, with
// TLS and a login, also for a guard that gives back. The child has them as they are.
func TestNativeVariables(t *testing.T) {
	t.Parallel()
	for _, k := range []*kind{etcdKind, consulKind} {
		t.Run(k.name, func(t *testing.T) {
			s := own(t, k, serverOptions{tls: true, secured: true})
			var env []string
			for _, v := range s.server.(interface{ CtlEnv() []string }).CtlEnv() {
				if strings.HasPrefix(v, "ETCDCTL_") || strings.HasPrefix(v, "CONSUL_") {
					env = append(env, v)
				}
			}
			e := newElection(t, s)
			native := spec{store: k.name + ":", env: env, ttl: 3 * time.Second}
			a, b, first := e.pair(native, native)
			e.goesOn(first, 4*time.Second)
			child := environOf(first.mains[0])
			for _, v := range env {
				if !slices.Contains(child, v) {
					t.Errorf("the child has lost %s", v)
				}
			}
			a.theGuard(t)
			a.signal(t, unix.SIGKILL)
			e.handedOver(first, e.leads(b, first), prompt)
		})
	}
}
