//go:build unix

// Command docs writes the manual pages and completion scripts of a package:
//
//	go run ./scripts/docs DIR
//
// makes DIR/man/*.1 and DIR/completions/{leaderrun.bash,_leaderrun,leaderrun.fish}.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"leaderrun/cmd"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: docs DIR")
		os.Exit(64)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	docs, err := cmd.Docs()
	if err != nil {
		return err
	}
	for name, text := range docs {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
