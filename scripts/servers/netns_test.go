package servers

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNetnsCutsEtcdOff(t *testing.T) {
	n := NewNetns(t)
	e := StartEtcd(t, EtcdOptions{Host: n.Addr()})
	bin, err := Bin("etcdctl")
	must(t, err)
	reach := func() error {
		cmd := n.Command(bin, "--command-timeout=500ms", "--dial-timeout=500ms", "put", "a", "b")
		cmd.Env = e.CtlEnv()
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(string(out), "deadline exceeded") {
			t.Errorf("not cut off but refused: %s", out)
		}
		return err
	}
	must(t, reach())
	for name, drop := range map[string]func() error{"both": n.Drop, "in": n.DropIn, "out": n.DropOut} {
		must(t, drop())
		if reach() == nil {
			t.Errorf("%s dropped, and yet etcd answers", name)
		}
		put(t, e, "others") // whom it does not concern
		must(t, n.Heal())
		must(t, reach())
	}
}

// A connection that was open survives the cut: nothing resets it.
func TestNetnsKeepsConnections(t *testing.T) {
	n := NewNetns(t)
	e := StartEtcd(t, EtcdOptions{Host: n.Addr()})
	bin, err := Bin("etcdctl")
	must(t, err)
	var out syncBuffer
	watch := n.Command(bin, "watch", "key")
	watch.Env, watch.Stdout, watch.Stderr = e.CtlEnv(), &out, &out
	must(t, watch.Start())
	t.Cleanup(func() { _ = watch.Process.Kill(); _ = watch.Wait() })
	waitFor(t, "the watch", func() bool {
		put(t, e, "key")
		return strings.Contains(out.String(), "PUT")
	})
	must(t, n.Drop())
	out.Reset()
	put(t, e, "key")
	select {
	case <-time.After(300 * time.Millisecond):
	case <-t.Context().Done():
	}
	if got := out.String(); got != "" {
		t.Errorf("heard through the cut: %s", got)
	}
	must(t, n.Heal())
	waitFor(t, "the event that was lost", func() bool { return strings.Contains(out.String(), "PUT") })
}

// Several tests run at once, and one of them may be killed.
func TestNetnsManyAndLeftOver(t *testing.T) {
	Require(t, "netns")
	var all []*Netns
	for range 3 {
		all = append(all, NewNetns(t))
	}
	if all[0].Addr() == all[1].Addr() || all[1].Addr() == all[2].Addr() {
		t.Errorf("one address twice: %v", all)
	}
	dead := exec.Command("true")
	must(t, dead.Run())
	left := &Netns{name: netnsPrefix + "0-" + strconv.Itoa(dead.Process.Pid)}
	must(t, ip("", "netns", "add", left.name))
	NewNetns(t)
	if _, err := os.Stat("/run/netns/" + left.name); err == nil {
		t.Errorf("%s is left", left.name)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}
