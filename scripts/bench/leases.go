//go:build linux

package main

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"leaderrun/scripts/servers"
)

// Each of these finds what the leader of a round holds, and returns what takes it
// away with one request on a connection that is open.

// etcdLease: the oldest key of the queue is the leader's, for leaderrun and for
// `etcdctl lock` alike.
func etcdLease(r *round) (func() error, error) {
	prefix := r.election + "/"
	if r.c.rival != "" {
		prefix = "/leaderrun/" + r.election + "/queue/"
	}
	kvs, err := r.etcdRange(prefix)
	if err != nil {
		return nil, err
	}
	if len(kvs) == 0 {
		return nil, fmt.Errorf("etcd has no key below %s", prefix)
	}
	return func() error {
		in := map[string]string{"ID": kvs[0].Lease}
		return ask(http.MethodPost, "http://"+r.bench.addr(etcd)+"/v3/lease/revoke", in, nil)
	}, nil
}

func consulLease(r *round) (func() error, error) {
	key := r.election + "/.lock"
	if r.c.rival != "" {
		key = "leaderrun/" + key
	}
	base := "http://" + r.bench.addr(consul) + "/v1/"
	var pairs []struct{ Session string }
	if err := ask(http.MethodGet, base+"kv/"+key+"?consistent", nil, &pairs); err != nil {
		return nil, err
	}
	if len(pairs) != 1 || pairs[0].Session == "" {
		return nil, fmt.Errorf("no session holds %s in Consul", key)
	}
	return func() error {
		return ask(http.MethodPut, base+"session/destroy/"+pairs[0].Session, nil, nil)
	}, nil
}

// zkNode deletes the leader's node: a session's end by hand is nothing that
// ZooKeeper's clients offer.
func zkNode(r *round) (func() error, error) {
	conn, err := r.bench.servers[zookeeper].(*servers.ZooKeeper).Admin()
	if err != nil {
		return nil, err
	}
	r.atEnd(conn.Close)
	queue := "/leaderrun/" + r.election + "/queue"
	nodes, _, err := conn.Children(queue)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", queue, err)
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("nobody is in %s", queue)
	}
	number := func(node string) string { return node[strings.LastIndexByte(node, '-')+1:] }
	first := slices.MinFunc(nodes, func(a, b string) int { return strings.Compare(number(a), number(b)) })
	return func() error { return conn.Delete(path.Join(queue, first), -1) }, nil
}
