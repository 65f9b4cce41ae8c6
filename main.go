// Leaderrun runs a command only while this host leads an election. See the
// README for users and package cmd for the command line.
package main

import (
	"os"

	"leaderrun/cmd"
)

func main() { os.Exit(cmd.Main(os.Args)) }
