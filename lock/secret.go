package lock

import (
	"fmt"
	"os"
	"strings"
)

// ReadSecret returns what a file holds, without its line end; flag is the
// setting that names the file. It is read whenever the secret is used, so that
// it may be replaced meanwhile and stands nowhere else. Errors are of kind
// ErrConfig and never hold it.
func ReadSecret(flag, path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrConfig, flag, err)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%w: %s: %s is empty", ErrConfig, flag, path)
	}
	return secret, nil
}
