//go:build windows

package cmd

import (
	"fmt"
	"os"
)

// Main refuses to run: a program that ran here without the promise would be
// worse than none.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "leaderrun: bad configuration: leaderrun does not run on Windows yet, where it could not keep two copies from running at once: run it on Linux")
	return 78
}
