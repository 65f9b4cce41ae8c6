//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sys/unix"

	"leaderrun/lock"
	"leaderrun/scripts/servers"
)

// webAsker asks one node after the other over HTTP.
type webAsker struct {
	client http.Client
	nodes  []string
	node   int
	method string
	path   string
	body   []byte
	parse  func(body []byte) (shown, error)
}

func (a *webAsker) ask() (shown, error) {
	body, err := a.get()
	if err != nil {
		a.node++
		return shown{}, err
	}
	return a.parse(body)
}

func (a *webAsker) get() ([]byte, error) {
	request, err := http.NewRequest(a.method, "http://"+a.nodes[a.node%len(a.nodes)]+a.path, bytes.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode == http.StatusNotFound {
		return []byte("[]"), nil // Consul: no key below that
	} else if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return body, err
}

func (a *webAsker) close() { a.client.CloseIdleConnections() }

func (e *election) webAsker(method, path string, body []byte, parse func([]byte) (shown, error)) *webAsker {
	client := http.Client{Timeout: askBound, Transport: &http.Transport{}}
	return &webAsker{client: client, nodes: e.store.Endpoints(), method: method, path: path, body: body, parse: parse}
}

// etcdAsker asks for the oldest key of the queue: its create revision is the token.
func etcdAsker(e *election) asker {
	queue := []byte("/leaderrun/" + e.name + "/queue/")
	end := append(slices.Clone(queue[:len(queue)-1]), '/'+1)
	body, err := json.Marshal(map[string]any{"key": queue, "range_end": end, "limit": 1, "sort_order": "ASCEND", "sort_target": "CREATE"})
	must(e.t, err)
	return e.webAsker(http.MethodPost, "/v3/kv/range", body, func(body []byte) (shown, error) {
		var answer struct {
			Kvs []struct {
				Value    []byte `json:"value"`
				Revision uint64 `json:"create_revision,string"`
			} `json:"kvs"`
		}
		if err := json.Unmarshal(body, &answer); err != nil || len(answer.Kvs) == 0 {
			return shown{}, err
		}
		var holder lock.Holder
		err := json.Unmarshal(answer.Kvs[0].Value, &holder)
		return shown{holder.ID, answer.Kvs[0].Revision}, err
	})
}

// consulAsker reads the lock and the record at once: that tells the token, if its
// owner is who has the lock.
func consulAsker(e *election) asker {
	path := "/v1/kv" + strings.TrimSuffix(e.consulKey(), ".lock") + "?recurse&consistent"
	return e.webAsker(http.MethodGet, path, nil, func(body []byte) (shown, error) {
		var pairs []struct {
			Key, Session string
			Value        []byte
		}
		if err := json.Unmarshal(body, &pairs); err != nil {
			return shown{}, err
		}
		var session string
		var record []byte
		for _, p := range pairs {
			switch filepath.Base(p.Key) {
			case ".lock":
				session = p.Session
			case "record":
				record = p.Value
			}
		}
		if session == "" || record == nil {
			return shown{}, nil
		}
		return holderIn(record, session)
	})
}

// holderIn takes the holder from the record, if it is of that owner.
func holderIn(record []byte, owner string) (shown, error) {
	r, err := lock.DecodeRecord(record)
	if err != nil || r.State != lock.Held || r.Owner != owner {
		return shown{}, err
	}
	return shown{r.Holder.ID, uint64(r.Token)}, nil
}

// zkAsker writes before it reads over the same connection: only that makes the
// reading linearizable, as a leader that was deposed answers a Sync like any other.
type zkAsker struct {
	server *servers.ZooKeeper
	conn   *zk.Conn
	base   string
}

func newZKAsker(e *election) asker {
	return &zkAsker{server: e.store.server.(*servers.ZooKeeper), base: "/leaderrun/" + e.name}
}

func (a *zkAsker) ask() (s shown, err error) {
	if a.conn == nil {
		if a.conn, err = a.server.Admin(); err != nil {
			a.conn = nil
			return shown{}, err
		}
	}
	conn := a.conn
	bound := time.AfterFunc(askBound, conn.Close) // its requests have no bound of their own
	s, err = a.read()
	if !bound.Stop() || err != nil {
		conn.Close()
		a.conn = nil
	}
	return s, err
}

func (a *zkAsker) read() (shown, error) {
	const mark = "/asked"
	if _, err := a.conn.Set(mark, nil, -1); errors.Is(err, zk.ErrNoNode) {
		_, err = a.conn.Create(mark, nil, 0, zk.WorldACL(zk.PermAll))
		if err != nil {
			return shown{}, err
		}
	} else if err != nil {
		return shown{}, err
	}
	nodes, _, err := a.conn.Children(a.base + "/queue")
	var record []byte
	if err == nil && len(nodes) > 0 {
		record, _, err = a.conn.Get(a.base + "/record")
	}
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return shown{}, err
	}
	if record == nil {
		return shown{}, nil
	}
	owner, _, _ := strings.Cut(zkFirst(nodes), "-")
	return holderIn(record, owner)
}

func (a *zkAsker) close() {
	if a.conn != nil {
		a.conn.Close()
	}
}

// fileAsker looks for the newest record, and then whether the lock file that it names
// still shows a heartbeat: another's, until that has written a record, is taken for
// the old one's, but not once that was seen to have ended.
type fileAsker struct {
	lock, dir    string
	latest, over shown
}

func newFileAsker(e *election) asker {
	return &fileAsker{lock: e.lockFile(), dir: filepath.Join(e.store.dir, e.name+".d")}
}

func (a *fileAsker) ask() (shown, error) {
	s, err := a.look()
	if err != nil || s == a.over {
		return shown{}, err
	}
	if s == (shown{}) && a.latest != (shown{}) {
		a.over = a.latest
	}
	a.latest = s
	return s, nil
}

func (a *fileAsker) look() (shown, error) {
	var state struct {
		Record json.RawMessage
		Lock   struct{ Ino uint64 }
	}
	if err := a.newest(&state); err != nil || state.Record == nil {
		return shown{}, err
	}
	r, err := lock.DecodeRecord(state.Record)
	if err != nil || r.State != lock.Held {
		return shown{}, err
	}
	f, err := os.Open(a.lock)
	if errors.Is(err, os.ErrNotExist) {
		return shown{}, nil
	} else if err != nil {
		return shown{}, err
	}
	defer f.Close() //nolint:errcheck // was only read
	info, err := f.Stat()
	if err != nil || info.Sys().(*syscall.Stat_t).Ino != state.Lock.Ino {
		return shown{}, err
	}
	heart := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &heart); err != nil || heart.Type == unix.F_UNLCK {
		return shown{}, err
	}
	return shown{r.Holder.ID, uint64(r.Token)}, nil
}

// newest reads the state with the highest number.
func (a *fileAsker) newest(state any) error {
	entries, err := os.ReadDir(a.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	newest := 0
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), ".json")
		if n, err := strconv.Atoi(number); ok && err == nil {
			newest = max(newest, n)
		}
	}
	if err != nil || newest == 0 {
		return err
	}
	data, err := os.ReadFile(filepath.Join(a.dir, fmt.Sprintf("%d.json", newest)))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, state)
}

func (*fileAsker) close() {}
