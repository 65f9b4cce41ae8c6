//go:build unix

package file

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"leaderrun/lock"
	"leaderrun/lock/contract"
)

func TestContract(t *testing.T) {
	path := t.TempDir()
	lockPath := func(election string) string { return filepath.Join(path, election+".lock") }
	contract.Run(t, contract.Suite{
		Open: func(t testing.TB) lock.Store {
			t.Helper()
			return openAt(t, path)
		},
		TTL: 2 * time.Second,
		Faults: map[string]func(testing.TB, string){
			"lock file deleted": func(t testing.TB, election string) {
				t.Helper()
				if err := os.Remove(lockPath(election)); err != nil {
					t.Fatal(err)
				}
			},
			"lock file replaced": func(t testing.TB, election string) {
				t.Helper()
				other := lockPath(election) + ".new"
				if err := os.WriteFile(other, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(other, lockPath(election)); err != nil {
					t.Fatal(err)
				}
			},
		},
		Record: func(t testing.TB, election string) (lock.Record, bool) {
			t.Helper()
			s, err := dir(filepath.Join(path, election+".d")).read()
			if err != nil {
				t.Fatal(err)
			}
			return s.Record, s.version > 0
		},
	})
}

func openAt(t testing.TB, path string) lock.Store {
	t.Helper()
	u, err := lock.ParseURL("file://" + path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(lock.Settings{URL: u})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What stands in the directory after a thousand elections is what stood there
// after a few.
func TestNothingIsLeft(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	contract.Thousand(t, s, 2*time.Second)
	var files []string
	err := filepath.WalkDir(path, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil || len(files) > 5 {
		t.Errorf("%d files, %v: %v", len(files), err, files)
	}
}
