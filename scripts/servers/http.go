package servers

import (
	"context"
	"io"
	"net/http"
	"time"
)

// http asks the node, within 2 s. A connection for each request: nodes come and go.
func (c *cluster) http(
	ctx context.Context, method string, n *node, path string, header http.Header, body io.Reader,
) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	tlsConfig, err := c.certs.clientConfig()
	if err != nil {
		return 0, "", err
	}
	tr := &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, method, c.certs.scheme()+"://"+n.addr+path, body)
	if err != nil {
		return 0, "", err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}
