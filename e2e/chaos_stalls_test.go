//go:build linux

package e2e

import "time"

// stalled is what nobody did: the machine stood still for so long that what is lost then
// is not needless.
const (
	stalled    = "machine overloaded (not injected)"
	leastStall = 400 * time.Millisecond
)

// stalls are the faults among the pauses.
func (ps pauses) stalls() (faults []fault) {
	for _, p := range ps {
		if p.to.since(p.from) > leastStall {
			faults = append(faults, fault{kind: stalled, from: p.from, to: p.to, mayEnd: true})
		}
	}
	return faults
}
