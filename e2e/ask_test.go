//go:build linux

package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// listening lets a candidate say at which port it listens.
var listening = []string{"--listen", "127.0.0.1:0", "--log-level", "info"}

// address is where a candidate listens.
func (c *candidate) address(t testing.TB) string {
	t.Helper()
	return c.says(t, "listening", 1, patient).get("address")
}

// A client asks each time on a connection of its own, as a load balancer does.
var client = http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get returns the status and the body, or 0 and why there is none.
func get(address, path string) (status int, body string) {
	r, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(b)
}

// answers waits until a path has this status.
func (c *candidate) answers(t testing.TB, path string, status int, limit time.Duration) (body string) {
	t.Helper()
	var got int
	defer func() {
		if t.Failed() {
			t.Logf("%s%s said last: %d %s", c.id, path, got, body)
		}
	}()
	waitFor(t, fmt.Sprintf("%s%s to answer %d", c.id, path, status), limit, func() bool {
		got, body = get(c.address(t), path)
		return got == status
	})
	return body
}

// metric returns the value of the sample of that name with these labels, if there is one.
func (c *candidate) metric(t testing.TB, name string, labels ...string) (value float64, ok bool) {
	t.Helper()
	status, body := get(c.address(t), "/metrics")
	if status != http.StatusOK {
		t.Fatalf("%s/metrics: %d %s", c.id, status, body)
	}
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, name+"{") || !containsAll(line, labels) {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		must(t, err)
		return value, true
	}
	return 0, false
}

func containsAll(s string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}

// counts waits until a sample has this value.
func (c *candidate) counts(t testing.TB, value float64, name string, labels ...string) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s to count %v of %s %v", c.id, value, name, labels), patient, func() bool {
		got, ok := c.metric(t, name, labels...)
		return ok && got == value
	})
}

// freeAddress is a loopback address that stays free: no connection takes its port by
// itself, and neither does a server of ours.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(10000)))
		if err == nil {
			must(t, l.Close())
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}
