package zk

import (
	"testing"
	"time"
)

func TestLosesWrites(t *testing.T) {
	for version, bug := range map[string]string{
		"3.5.9": "ZOOKEEPER-4785", "3.7.2": "ZOOKEEPER-4785", "3.8.0": "ZOOKEEPER-4785", "3.8.3": "ZOOKEEPER-4785", "3.8.4": "",
		"3.9.1": "ZOOKEEPER-4785", "3.9.2": "", "3.9.3": "ZOOKEEPER-4925", "3.9.4": "", "3.10.0": "", "4.0.0": "", "": "", "3": "",
	} {
		if got := losesWrites(version); got != bug {
			t.Errorf("%q: %q, want %q", version, got, bug)
		}
	}
}

// What servers say of themselves, and that they may not.
func TestServerWords(t *testing.T) {
	var v server
	v.note("srvr is not executed because it is not in the whitelist.\n")
	if v.version != "" || v.mode != "" {
		t.Errorf("%+v", v)
	}
	v.note("Zookeeper version: 3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f, built on 2022-02-25 08:49 UTC\nLatency min/avg/max: 0/0.0/0\nMode: follower\n")
	v.note("clientPort=2181\ntickTime=2000\n")
	if v.version != "3.8.0" || v.mode != "follower" || v.tick != 2*time.Second {
		t.Errorf("%+v", v)
	}
}
