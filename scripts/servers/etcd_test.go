package servers

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEtcdSurvivesItsLeader(t *testing.T) {
	e := StartEtcd(t, EtcdOptions{Nodes: 3})
	if got := len(e.Endpoints()); got != 3 {
		t.Fatalf("%d endpoints", got)
	}
	put(t, e, "before")
	first, err := e.Leader()
	must(t, err)
	must(t, e.Kill(first))
	second, err := e.Leader()
	must(t, err)
	if second == first {
		t.Errorf("node %d leads, which is dead", second)
	}
	must(t, e.Restart(first))
	if got := get(t, e, "before"); got != "before" {
		t.Errorf("the value is %q after the restart", got)
	}

	must(t, e.Pause(second))
	third, err := e.Leader()
	must(t, err)
	if third == second {
		t.Errorf("node %d leads, which is stopped", third)
	}
	must(t, e.Resume(second))
	put(t, e, "after")
}

// A cluster without a majority serves nobody: Restart must not wait for it.
func TestEtcdWithoutMajority(t *testing.T) {
	e := StartEtcd(t, EtcdOptions{Nodes: 3, Fast: true})
	must(t, e.Kill(0))
	must(t, e.Kill(1))
	must(t, e.Kill(2))
	must(t, e.Restart(2))
	must(t, e.Restart(0))
	put(t, e, "key")
}

func TestEtcdRestartsInPlace(t *testing.T) {
	e := StartEtcd(t, EtcdOptions{})
	put(t, e, "key")
	pid, endpoints := e.Pid(0), e.Endpoints()[0]
	must(t, e.Kill(0))
	if e.Pid(0) != 0 || e.Kill(0) == nil {
		t.Error("killed, but it seems to run")
	}
	must(t, e.Restart(0))
	if e.Pid(0) == pid || e.Endpoints()[0] != endpoints {
		t.Errorf("pid %d was %d, endpoint %s was %s", e.Pid(0), pid, e.Endpoints()[0], endpoints)
	}
	if got := get(t, e, "key"); got != "key" {
		t.Errorf("the value is %q after the restart", got)
	}
}

func TestEtcdTLS(t *testing.T) {
	e := StartEtcd(t, EtcdOptions{TLS: true})
	put(t, e, "key")
	for _, file := range []string{e.CA(), e.ClientCert(), e.ClientKey()} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	// Nobody comes in with another authority, or without a certificate.
	other, err := newCerts(t.TempDir(), nil, "", "")
	must(t, err)
	for name, c := range map[string][]string{
		"other server authority": {other.ca, e.ClientCert(), e.ClientKey()},
		"other client authority": {e.CA(), other.clientCert, other.clientKey},
		"no certificate":         {e.CA(), "", ""},
	} {
		env := append(cleanEnv(), "ETCDCTL_ENDPOINTS=https://"+e.Endpoints()[0],
			"ETCDCTL_CACERT="+c[0], "ETCDCTL_CERT="+c[1], "ETCDCTL_KEY="+c[2])
		if out, err := e.ctl(env, "", "--command-timeout=1s", "get", "key"); err == nil {
			t.Errorf("%s: let in: %s", name, out)
		}
	}
}

func TestEtcdAuth(t *testing.T) {
	for name, o := range map[string]EtcdOptions{
		"plain":     {User: "app", Password: "s3cret"},
		"root, TLS": {User: "root", Password: "s3cret", TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := StartEtcd(t, o)
			put(t, e, "key")
			wrong := append(e.anonymousEnv(), "ETCDCTL_USER="+o.User, "ETCDCTL_PASSWORD=wrong")
			if out, err := e.ctl(wrong, "", "get", "key"); err == nil {
				t.Errorf("let in with a wrong password: %s", out)
			}
			must(t, e.Kill(0))
			must(t, e.Restart(0))
			put(t, e, "key")
		})
	}
}

func TestEtcdCleansUp(t *testing.T) {
	e, err := RunEtcd(t.Context(), EtcdOptions{})
	must(t, err)
	must(t, e.Stop())
	if _, err := os.Stat(e.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", e.dir, err)
	}
	if c, err := net.Dial("tcp", e.Endpoints()[0]); err == nil {
		_ = c.Close()
		t.Error("somebody still listens")
	}
}

func TestEtcdSaysWhyItDoesNotStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	_, err := RunEtcd(t.Context(), EtcdOptions{Dir: dir, Args: []string{"--nonsense"}})
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v", err)
	}
	_, err = RunEtcd(t.Context(), EtcdOptions{Host: "192.0.2.1"})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("error %v", err)
	}
}

func put(t *testing.T, e *Etcd, key string) {
	t.Helper()
	_, err := e.Ctl("put", key, key)
	must(t, err)
}

func get(t *testing.T, e *Etcd, key string) string {
	t.Helper()
	out, err := e.Ctl("get", "--print-value-only", key)
	must(t, err)
	return strings.TrimSpace(out)
}

func TestEtcdLeaderMoves(t *testing.T) { moves(t, StartEtcd(t, EtcdOptions{Nodes: 3, Fast: true})) }

func TestConsulLeaderMoves(t *testing.T) { moves(t, StartConsul(t, ConsulOptions{Nodes: 3})) }

func moves(t *testing.T, s interface {
	Leader() (int, error)
	MoveLeader(node int) error
},
) {
	t.Helper()
	before, err := s.Leader()
	must(t, err)
	must(t, s.MoveLeader(before))
	waitFor(t, "another leader", func() bool {
		leader, err := s.Leader()
		return err == nil && leader != before
	})
}
