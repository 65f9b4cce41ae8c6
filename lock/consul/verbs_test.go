package consul

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"leaderrun/scripts/servers"
)

// What goes through Raft must be understood by every server, also in a cluster that is
// being upgraded: one that does not know a verb keeps the old state, and no server says so.
func TestWritesUseOldVerbsOnly(t *testing.T) {
	r := newRig(t, servers.ConsulOptions{})
	agent := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.consul.Endpoints()[0]})
	agent.ErrorLog = quiet
	var writes int
	before := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/v1/txn" {
			body, _ := io.ReadAll(req.Body)
			req.Body = io.NopCloser(bytes.NewReader(body))
			var ops []struct{ KV struct{ Verb api.KVOp } }
			if err := json.Unmarshal(body, &ops); err != nil {
				t.Error(err)
			}
			var verbs []api.KVOp
			for _, op := range ops {
				verbs = append(verbs, op.KV.Verb)
			}
			if slices.ContainsFunc(verbs, func(v api.KVOp) bool {
				return slices.Contains([]api.KVOp{api.KVSet, api.KVCAS, api.KVLock, api.KVUnlock}, v)
			}) {
				writes++
				if slices.Contains(verbs, api.KVGetOrEmpty) {
					t.Errorf("a transaction of %v", verbs)
				}
			}
		}
		agent.ServeHTTP(w, req)
	}))
	defer before.Close()
	s := r.open(strings.TrimPrefix(before.URL, "http://"))
	for _, id := range []string{"a", "b"} { // without a record, and with one
		a := r.lead(s, id)
		r.must(a.Lease.Put(t.Context(), "k", nil))
		a.Release()
	}
	r.must(s.Close())
	if writes < 6 {
		t.Errorf("%d writes seen", writes)
	}
}
