//go:build linux

package main

import (
	"fmt"
	"net/http"
)

// serve answers every request with "TOKEN CANDIDATE".
func serve(address string) {
	answer := orDash("LEADERRUN_FENCING_TOKEN") + " " + orDash("LEADERRUN_CANDIDATE") + "\n"
	fail("serve", http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, answer) // who does not wait for it has gone
	})))
}
