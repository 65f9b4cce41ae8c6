package servers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

func TestZooKeeperSurvivesItsLeader(t *testing.T) {
	z := StartZooKeeper(t, ZooKeeperOptions{Nodes: 3, Tick: 500 * time.Millisecond})
	if got := len(z.Endpoints()); got != 3 {
		t.Fatalf("%d endpoints", got)
	}
	putZK(t, z, "/before")
	first, err := z.Leader()
	must(t, err)
	must(t, z.Kill(first))
	second, err := z.Leader()
	must(t, err)
	if second == first {
		t.Errorf("node %d leads, which is dead", second)
	}
	must(t, z.Restart(first))
	if got := getZK(t, z, "/before"); got != "/before" {
		t.Errorf("the value is %q after the restart", got)
	}

	must(t, z.Pause(second))
	third, err := z.Leader()
	must(t, err)
	if third == second {
		t.Errorf("node %d leads, which is stopped", third)
	}
	must(t, z.Resume(second))
	putZK(t, z, "/after")
}

func TestZooKeeperRestartsInPlace(t *testing.T) {
	z := StartZooKeeper(t, ZooKeeperOptions{})
	putZK(t, z, "/key")
	pid, endpoint := z.Pid(0), z.Endpoints()[0]
	if z.URL() != "zk://"+endpoint+"/leaderrun" {
		t.Errorf("URL %s", z.URL())
	}
	must(t, z.Kill(0))
	if z.Pid(0) != 0 || z.Kill(0) == nil {
		t.Error("killed, but it seems to run")
	}
	must(t, z.Restart(0))
	if z.Pid(0) == pid || z.Endpoints()[0] != endpoint {
		t.Errorf("pid %d was %d, endpoint %s was %s", z.Pid(0), pid, z.Endpoints()[0], endpoint)
	}
	if got := getZK(t, z, "/key"); got != "/key" {
		t.Errorf("the value is %q after the restart", got)
	}
}

func TestZooKeeperAuth(t *testing.T) {
	z := StartZooKeeper(t, ZooKeeperOptions{Nodes: 3, TLS: true, User: "app", Password: "s3cret", Fast: true})
	putZK(t, z, "/admin")
	for password, want := range map[string]error{"": zk.ErrNoAuth, "wrong": zk.ErrNoAuth, "s3cret": nil} {
		credentials := ""
		if password != "" {
			credentials = "app:" + password
		}
		conn, err := z.connect(credentials)
		must(t, err)
		defer conn.Close()
		if _, err := conn.Create("/app", nil, 0, zk.WorldACL(zk.PermAll)); !errors.Is(err, want) {
			t.Errorf("with password %q: %v, not %v", password, err, want)
		}
	}
}

// Sessions are bounded by 2 and 20 ticks, unless zoo.cfg says otherwise.
func TestZooKeeperTicks(t *testing.T) {
	for _, o := range []struct {
		tick time.Duration
		conf []string
		want string
	}{
		{0, nil, "4000"},
		{500 * time.Millisecond, []string{"minSessionTimeout=1500"}, "1500"},
	} {
		z := StartZooKeeper(t, ZooKeeperOptions{Tick: o.tick, Conf: o.conf, Fast: true})
		conf, err := z.word(t.Context(), z.nodes[0], "conf")
		must(t, err)
		if !strings.Contains(conf, "minSessionTimeout="+o.want+"\n") {
			t.Errorf("tick %v, %v: %s", o.tick, o.conf, conf)
		}
	}
}

func putZK(t *testing.T, z *ZooKeeper, path string) {
	t.Helper()
	conn, err := z.Admin()
	must(t, err)
	defer conn.Close()
	_, err = conn.Create(path, []byte(path), 0, zk.WorldACL(zk.PermAll))
	must(t, err)
}

func getZK(t *testing.T, z *ZooKeeper, path string) string {
	t.Helper()
	conn, err := z.Admin()
	must(t, err)
	defer conn.Close()
	data, _, err := conn.Get(path)
	must(t, err)
	return string(data)
}
