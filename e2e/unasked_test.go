//go:build linux

package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// What libraries log by themselves does not get among the lines of the log and of the
// child: here net/http, of an answer that nobody asked for. Consul's agents send one to
// clients with too many connections.
func TestUnaskedAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close() //nolint:errcheck // a test
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\"x\"")
				_, _ = io.WriteString(c, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
			}
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	out, _ := exec.Command(leaderrunBin, "--store", "consul://"+l.Addr().String(), "--name", "e", "--wait", "2s", "--", "true").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "leaderrun[") {
			t.Errorf("line %q", line)
		}
	}
	if !strings.Contains(string(out), "store unavailable") {
		t.Errorf("output: %s", out)
	}
}
