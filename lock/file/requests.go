//go:build unix

package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"leaderrun/lock"
)

// storedRequest is the file request.json: the latest that anyone asked. The
// nonce tells a request from an equal one before it.
type storedRequest struct {
	Nonce   string       `json:"nonce"`
	Request lock.Request `json:"request"`
}

func (d dir) requestFile() string { return filepath.Join(string(d), "request.json") }

// Ask implements lock.Records.
func (l *locker) Ask(ctx context.Context, r lock.Request) error {
	data, err := json.Marshal(storedRequest{randomName(), r})
	if err != nil {
		return err
	}
	_, err = within(ctx, "ask the holder", func() (struct{}, error) {
		if l.bad != nil {
			return struct{}{}, l.bad
		}
		tmp, err := l.dir.writeTemp(data, true)
		if err == nil {
			err = os.Rename(tmp, l.dir.requestFile())
		}
		if err != nil && !errors.Is(err, lock.ErrUnavailable) {
			err = errors.Join(unavailable("ask the holder", err), os.Remove(tmp))
		}
		return struct{}{}, err
	})
	if l.store.observe {
		err = l.unwritable(err)
	}
	return err
}

// unwritable makes a missing right to write one of the kind that waiting does not mend.
func (l *locker) unwritable(err error) error {
	for _, errno := range []syscall.Errno{unix.EACCES, unix.EPERM, unix.EROFS} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: --store file: ask the holder: write in %s: %w: run this as the user of the candidates", lock.ErrConfig, l.dir, errno)
		}
	}
	return err
}

// An inbox finds requests to one tenure.
type inbox struct {
	dir   dir
	token lock.Token
	nonce string // of the request that was returned last
}

// look returns a request that was not returned before.
func (in *inbox) look() (r lock.Request, ok bool) {
	b, err := readFile(in.dir.requestFile())
	var stored storedRequest
	if err != nil || json.Unmarshal(b, &stored) != nil {
		return r, false
	}
	if stored.Request.Token != in.token || stored.Nonce == in.nonce {
		return r, false
	}
	in.nonce = stored.Nonce
	return stored.Request, true
}

// offerLatest replaces what the reader has not taken yet.
func offerLatest(c chan lock.Request, r lock.Request) {
	select {
	case <-c:
	default:
	}
	c <- r // there is room: nobody else sends
}
