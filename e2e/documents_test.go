//go:build linux

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// documents are README.md and what is in docs/, in one text.
func documents(t testing.TB) string {
	t.Helper()
	pages, err := filepath.Glob("../docs/*.md")
	must(t, err)
	text := readFile("../README.md")
	for _, page := range pages {
		text += "\n" + readFile(page)
	}
	return text
}

// documented returns the indented block that follows a line of the documents, which
// has to be there once.
func documented(t testing.TB, after string) string {
	t.Helper()
	parts := strings.Split(documents(t), after+"\n\n    ")
	if len(parts) != 2 {
		t.Fatalf("README.md and docs/: %d blocks after %q, want one", len(parts)-1, after)
	}
	block, _, _ := strings.Cut(parts[1], "\n\n")
	return strings.ReplaceAll(block, "\n    ", "\n")
}
