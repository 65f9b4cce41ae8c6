package lock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecret is far above what any store takes: a device or a log, named by mistake, is
// not read to its end.
const maxSecret = 64 << 10

// ReadSecret returns what a file holds, without its line end; flag is the
// setting that names the file. It is read whenever the secret is used, so that
// it may be replaced meanwhile and stands nowhere else. Errors are of kind
// ErrConfig and never hold it.
func ReadSecret(flag, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrConfig, flag, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrConfig, flag, err)
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("%w: %s: %s has more than %d bytes and is no secret's file", ErrConfig, flag, path, maxSecret)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%w: %s: %s is empty", ErrConfig, flag, path)
	}
	return secret, nil
}
