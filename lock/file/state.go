//go:build unix

package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"leaderrun/lock"
)

// A dir is the state of one election: files named by their version, 1.json,
// 2.json, ..., each of which is the whole state. The newest counts.
//
// No lock protects it, and none may: a process that is frozen in a critical
// section would block the election. A version is written once, by a link(2)
// that fails if the version is there, which makes a compare-and-swap; so a
// writer that was frozen changes nothing when it wakes.
//
// A listing is one moment's view: the few names fit in one getdents(2), which
// holds the directory's lock.
type dir string

// A state is what one version holds.
type state struct {
	Record lock.Record
	Lock   fileID            // the lock file that the record's tenure holds
	Values map[string][]byte // lock.Records

	version int64 // that it was read from; 0 for none yet
	newest  int64 // number in use; greater than version if that is torn
}

type storedState struct {
	Record json.RawMessage   `json:"record"`
	Lock   fileID            `json:"lock"`
	Values map[string][]byte `json:"values,omitempty"`
}

func (s state) encode() []byte {
	b, err := json.Marshal(storedState{s.Record.Encode(), s.Lock, s.Values})
	if err != nil {
		panic(err) // strings, bytes and numbers
	}
	return b
}

func decodeState(b []byte) (state, error) {
	var st storedState
	if err := json.Unmarshal(b, &st); err != nil {
		return state{}, err
	}
	r, err := lock.DecodeRecord(st.Record)
	if err == nil && (r.Host == nil || r.Host.BootID == "") {
		err = errNoBoot
	}
	return state{Record: r, Lock: st.Lock, Values: st.Values}, err
}

// errNoBoot: such a tenure would count as one of an earlier boot, of which nothing
// is left.
var errNoBoot = errors.New("its record names no boot")

func (d dir) file(version int64) string {
	return filepath.Join(string(d), strconv.FormatInt(version, 10)+".json")
}

// versions returns the numbers in use, the newest first.
func (d dir) versions() ([]int64, error) {
	f, err := os.Open(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, unavailable("read state", err)
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, unavailable("read state", err)
	}
	var all []int64
	for _, name := range names {
		number, _ := strings.CutSuffix(name, ".json")
		v, err := strconv.ParseInt(number, 10, 64)
		if err == nil && v > 0 && name == filepath.Base(d.file(v)) { // else it is somebody's, such as 07.json
			all = append(all, v)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all, nil
}

// read returns the newest state; the zero state if there never was one.
//
// A version that was cut short was never written out before the power failed:
// the one before it counts. That is never the record that a leader started its
// child on, which is on the disk by then. One that is whole and no state of ours is
// for people to look at: the one before it may say that nobody leads.
func (d dir) read() (state, error) {
	for range 100 {
		versions, err := d.versions()
		if err != nil || len(versions) == 0 {
			return state{}, err
		}
		s, err := d.readNewest(versions)
		if !errors.Is(err, fs.ErrNotExist) {
			s.newest = versions[0]
			return s, err
		}
	}
	return state{}, unavailable("read state", fmt.Errorf("%s changes all the time", d))
}

// readNewest returns fs.ErrNotExist if a version is gone, as newer ones are
// there.
func (d dir) readNewest(versions []int64) (state, error) {
	var torn error
	for _, v := range versions {
		b, err := readFile(d.file(v))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, lock.ErrConfig) {
			return state{}, err
		} else if err != nil {
			return state{}, unavailable("read state", err)
		}
		s, err := decodeState(b)
		if err == nil {
			s.version = v
			return s, nil
		}
		if torn == nil {
			torn = err
		}
		if json.Valid(b) {
			break
		}
	}
	return state{}, fmt.Errorf("%w: --store file: %s is not a state of leaderrun (%w): if no candidate runs, delete the directory %s; fencing tokens begin anew then",
		lock.ErrConfig, d.file(versions[0]), torn, d)
}

// A reader looks at the state often, and reads it when it has changed.
type reader struct {
	dir  dir
	last state
}

func (r *reader) read() (state, error) {
	versions, err := r.dir.versions()
	if err != nil {
		return state{}, err
	}
	if len(versions) > 0 && versions[0] == r.last.newest {
		return r.last, nil
	}
	s, err := r.dir.read()
	if err == nil {
		r.last = s
	}
	return s, err
}
