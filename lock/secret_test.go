package lock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever a secret's file holds, its bytes are the secret but for the line's end,
// and no error shows them.
func FuzzReadSecret(f *testing.F) {
	for _, s := range []string{"", "\n", "secret", "secret\r\n", " secret \n\n", "a\nb", "\x00\xff"} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "file")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadSecret("--password-file", path)
		switch {
		case err != nil && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "--password-file") || got != ""):
			t.Errorf("%q: %q, %v", data, got, err)
		case err == nil && (got == "" || got != strings.TrimRight(string(data), "\r\n")):
			t.Errorf("%q: %q", data, got)
		}
	})
}

func TestEndlessSecret(t *testing.T) {
	if _, err := ReadSecret("--password-file", "/dev/zero"); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "/dev/zero") {
		t.Error(err)
	}
}
