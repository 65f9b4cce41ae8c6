//go:build unix

package file

import (
	"testing"
	"time"

	"leaderrun/lock"
)

// Acquire and release, alone: three fsync(2).
func BenchmarkAcquire(b *testing.B) {
	s := openAt(b, b.TempDir())
	for b.Loop() {
		l, err := s.Locker("job").Acquire(b.Context(), lock.Candidate{TTL: time.Minute})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// What a leader does ten times a second, and a standby four times.
func BenchmarkWatch(b *testing.B) {
	s := openAt(b, b.TempDir())
	l, err := s.Locker("job").Acquire(b.Context(), lock.Candidate{TTL: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	in := inbox{dir: l.(*lease).session.dir, token: l.Token()}
	for b.Loop() {
		if err := l.(*lease).session.check(); err != nil {
			b.Fatal(err)
		}
		in.look()
	}
	if err := l.Release(b.Context()); err != nil {
		b.Fatal(err)
	}
}
