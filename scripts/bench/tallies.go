//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tallies read what a client sends to a store and name each request.
var tallies = map[string]func(*bufio.Reader, func(string)) error{
	etcd: tallyGRPC, consul: tallyHTTP, zookeeper: tallyZK,
}

// renewals are the requests that come all the time, handover or not.
var renewals = map[string][]string{
	etcd: {"Lease/LeaseKeepAlive"}, consul: {"PUT session/renew"}, zookeeper: {"ping", "setData"},
}

// tallyGRPC counts messages, as etcd's grpc_server_msg_received_total does: each
// keep-alive and each new watch of a stream is one. The messages of locks are small:
// one frame each.
func tallyGRPC(r *bufio.Reader, count func(string)) error {
	if _, err := r.Discard(len(http2.ClientPreface)); err != nil {
		return err
	}
	const tableSize = 4096 // HTTP/2's default, which etcd leaves
	frames := http2.NewFramer(nil, r)
	frames.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	names := map[uint32]string{} // of streams
	for {
		f, err := frames.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			method := f.PseudoValue("path") // /etcdserverpb.KV/Txn
			names[f.StreamID] = method[strings.LastIndexByte(method, '.')+1:]
		case *http2.DataFrame:
			if len(f.Data()) > 0 {
				count(names[f.StreamID])
			}
			if f.StreamEnded() {
				delete(names, f.StreamID)
			}
		case *http2.RSTStreamFrame:
			delete(names, f.StreamID)
		}
	}
}

// tallyHTTP counts requests when they are made: a blocking query may be answered late.
func tallyHTTP(r *bufio.Reader, count func(string)) error {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return err
		}
		count(consulRequest(req))
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return err
		}
	}
}

func consulRequest(req *http.Request) string {
	parts := strings.Split(strings.TrimPrefix(req.URL.Path, "/v1/"), "/")
	query := req.URL.Query()
	name := req.Method + " " + parts[0]
	switch {
	case parts[0] != "kv":
		return req.Method + " " + path.Join(parts[:min(2, len(parts))]...)
	case query.Has("acquire"):
		return name + "?acquire"
	case query.Has("release"):
		return name + "?release"
	case query.Has("index"):
		return name + "?index"
	}
	return name
}

// zkTypes are ZooKeeper's opcodes (ZooDefs.OpCode).
var zkTypes = map[int32]string{
	1: "create", 2: "delete", 3: "exists", 4: "getData", 5: "setData", 8: "getChildren", 9: "sync",
	11: "ping", 12: "getChildren2", 14: "multi", 15: "create2", 100: "auth", 101: "setWatches", -11: "closeSession",
}

// tallyZK counts packets: pings too, and the one that makes or resumes a session,
// which comes first and has no type.
func tallyZK(r *bufio.Reader, count func(string)) error {
	const most = 1 << 20 // jute.maxbuffer: more is no packet
	for name := "connect"; ; {
		var length int32
		if err := binary.Read(r, binary.BigEndian, &length); err != nil {
			return err
		}
		if length < 8 || length > most {
			return errors.New("no packet of ZooKeeper")
		}
		packet := make([]byte, length)
		if _, err := io.ReadFull(r, packet); err != nil {
			return err
		}
		if name == "" {
			kind := int32(binary.BigEndian.Uint32(packet[4:]))
			if name = zkTypes[kind]; name == "" {
				name = strconv.Itoa(int(kind))
			}
		}
		count(name)
		name = ""
	}
}
