//go:build unix

package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"leaderrun/lock"
)

// unavailable says of an error of the file system what people can do about it.
func unavailable(what string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = " (make room there)"
	case errors.Is(err, syscall.EROFS):
		hint = " (mount it writable)"
	case errors.Is(err, fs.ErrPermission):
		hint = " (all candidates of an election run as one user)"
	}
	return fmt.Errorf("%w: %s: %w%s", lock.ErrUnavailable, what, err, hint)
}

// within runs f, which talks to the file system, but does not wait for it
// longer than ctx: a disk that hangs cannot be interrupted. What f still does
// afterwards must be harmless: every write is conditional on what was read, and a change
// that depends on its time (see lease.set) is not made anew once ctx is done.
func within[T any](ctx context.Context, what string, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, unavailable(what, context.Cause(ctx))
	}
}
