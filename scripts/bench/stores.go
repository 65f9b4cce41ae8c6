//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"leaderrun/scripts/servers"
)

// The servers that contenders need, by the names that Install knows.
const (
	etcd      = "etcd"
	consul    = "consul"
	zookeeper = "zookeeper"
)

type server interface {
	Endpoints() []string
	Stop() error
}

var starters = map[string]func(context.Context) (server, error){
	etcd: func(ctx context.Context) (server, error) { return servers.RunEtcd(ctx, servers.EtcdOptions{}) },
	// A crowd comes from one address, where the default is 200 connections.
	consul: func(ctx context.Context) (server, error) {
		return servers.RunConsul(ctx, servers.ConsulOptions{Args: []string{"-hcl=limits { http_max_conns_per_client = 10000 }"}})
	},
	// Likewise, where it is 60; its sessions are longer than the default of 40 s.
	zookeeper: func(ctx context.Context) (server, error) {
		return servers.RunZooKeeper(ctx, servers.ZooKeeperOptions{Conf: []string{"maxClientCnxns=0", "maxSessionTimeout=600000"}})
	},
}

// startServers starts what the chosen contenders need.
func (b *bench) startServers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // they may have to be built
	defer cancel()
	for _, m := range measurements {
		for _, c := range b.chosen(m) {
			if c.store == "" || b.servers[c.store] != nil {
				continue
			}
			s, err := starters[c.store](ctx)
			if err != nil {
				return err
			}
			b.servers[c.store] = s
		}
	}
	return nil
}

// addr is where clients of a store connect to.
func (b *bench) addr(store string) string {
	if s := b.servers[store]; s != nil {
		return s.Endpoints()[0]
	}
	return ""
}

// ask speaks JSON with a server over a connection that is kept. in and out may be nil.
func ask(method, url string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, strings.TrimSpace(string(text)))
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}

// etcdKV is a key as etcd's HTTP gateway writes it: 64-bit numbers are text.
type etcdKV struct {
	Key   []byte `json:"key"`
	Lease string `json:"lease"`
}

// etcdRange returns the keys below a prefix, the oldest first.
func (r *round) etcdRange(prefix string) (kvs []etcdKV, err error) {
	end := []byte(prefix)
	end[len(end)-1]++
	in := map[string]any{
		"key": []byte(prefix), "range_end": end,
		"keys_only": true, "sort_target": "CREATE", "sort_order": "ASCEND",
	}
	var out struct{ KVs []etcdKV }
	err = ask(http.MethodPost, "http://"+r.bench.addr(etcd)+"/v3/kv/range", in, &out)
	return out.KVs, err
}
